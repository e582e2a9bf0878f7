//! Durations as the management API writes them: `PT1M`, `P7DT12H`, `PT30.5S`.

use std::time::Duration;

pub(crate) fn write(duration: Duration) -> String {
    let whole = duration.as_secs();
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    let mut text = String::from("P");
    if days > 0 {
        text += &format!("{days}D");
    }
    let millis = duration.subsec_millis();
    if whole.is_multiple_of(86_400) && millis == 0 {
        return if days > 0 { text } else { "PT0S".to_owned() };
    }
    text.push('T');
    for (count, unit) in [(hours, 'H'), (minutes, 'M')] {
        if count > 0 {
            text += &format!("{count}{unit}");
        }
    }
    match (seconds, millis) {
        (0, 0) => {}
        (_, 0) => text += &format!("{seconds}S"),
        _ => text += &format!("{seconds}.{millis:03}S"),
    }
    text
}

/// Reads one; none when it is not a duration of days and less.
pub(crate) fn read(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut number = String::new();
    let mut in_time = false;
    for letter in text.trim().strip_prefix('P')?.chars() {
        let unit = match letter {
            '0'..='9' | '.' => {
                number.push(letter);
                continue;
            }
            'T' => {
                in_time = true;
                continue;
            }
            'D' => 86_400.0,
            'H' => 3_600.0,
            'M' if in_time => 60.0,
            'S' => 1.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        number.clear();
    }
    number
        .is_empty()
        .then(|| Duration::try_from_secs_f64(seconds).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_written() {
        for (millis, text) in [
            (60_000, "PT1M"),
            (600_000, "PT10M"),
            (90_500, "PT1M30.500S"),
            (604_800_000, "P7D"),
            (90_000_000, "P1DT1H"),
            (0, "PT0S"),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(write(duration), text);
            assert_eq!(read(text), Some(duration), "{text}");
        }
        for bad in ["", "1M", "P1Y", "PT1", "PTxS"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
