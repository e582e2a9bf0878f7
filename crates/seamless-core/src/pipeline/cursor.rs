//! Cursor arithmetic (R1). Pure.

use std::time::Duration;

use crate::record::Stamp;

/// Where a poll starts reading: the overlap behind the cursor, floored to the stamp's granularity, inclusive.
pub fn start_of(cursor: Stamp, overlap: Duration, granularity: Duration) -> Stamp {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    let grain = micros(granularity).max(1);
    let behind = cursor.0.saturating_sub(micros(overlap));
    Stamp(behind.div_euclid(grain).saturating_mul(grain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_to_the_granularity_behind_the_overlap() {
        let cases = [
            (10_500_000, 2_000, 1_000, 8_000_000),
            (10_000_000, 0, 1_000, 10_000_000),
            (10_000_999, 0, 1, 10_000_000),
            (-500, 0, 1_000, -1_000_000),
        ];
        for (cursor, overlap, grain, expected) in cases {
            let start = start_of(
                Stamp(cursor),
                Duration::from_millis(overlap),
                Duration::from_millis(grain),
            );
            assert_eq!(start, Stamp(expected), "{cursor}");
        }
    }
}
