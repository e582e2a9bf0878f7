//! Match keys made alike (R9): what two spellings of one thing have in common, and no more. Pure.
//!
//! A key that is too coarse links strangers, one that is too fine makes duplicates. In doubt they are fine: a plus-tag, an extension or a
//! subdomain tells two things apart.

use super::spec::Normaliser;
use crate::value::Value;

impl Normaliser {
    /// The normalised text; `None` when nothing is left that could identify anything.
    pub fn apply(self, value: &Value) -> Option<String> {
        let text = value.to_plain()?;
        let normalised = match self {
            Normaliser::Exact => text,
            Normaliser::Text => words(&text.to_lowercase()).join(" "),
            Normaliser::Email => email(&text),
            Normaliser::Phone => phone(&text),
            Normaliser::Domain => domain(&text),
            Normaliser::Name => name(&text),
        };
        (!normalised.is_empty()).then_some(normalised)
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// The bare address: `Ann <Ann@Example.org>` and `mailto:ann@example.org` are one. What stands before the `@` is the receiving system's business,
/// so a plus-tag stays: `ann+shop@` may be another mailbox.
fn email(text: &str) -> String {
    let text = text.trim();
    let bare = match (text.rfind('<'), text.ends_with('>')) {
        (Some(start), true) => &text[start + 1..text.len() - 1],
        _ => text,
    };
    let lower = bare.trim().to_lowercase();
    let lower = lower.strip_prefix("mailto:").unwrap_or(&lower);
    match lower.rsplit_once('@') {
        Some((mailbox, host)) => format!("{mailbox}@{}", readable(host.trim_end_matches('.'))),
        None => lower.to_owned(),
    }
}

/// Fewest digits that can tell one number from another.
const PHONE_DIGITS_MIN: usize = 4;

/// Digits, an extension's among them. `00` before a country is `+`, and the `(0)` of `+49 (0) 30` is not dialled from abroad. A placeholder
/// (`000-0000`) is nobody's number.
fn phone(text: &str) -> String {
    let abroad = text.trim_start().starts_with(['+', '＋']) || text.trim_start().starts_with("00");
    let text = if abroad {
        text.replacen("(0)", "", 1)
    } else {
        text.to_owned()
    };
    let digits: String = text.chars().filter_map(digit).collect();
    let digits = match digits.strip_prefix("00") {
        Some(rest) if abroad => rest,
        _ => &digits,
    };
    let mut distinct = digits.chars();
    let first = distinct.next();
    let is_placeholder = distinct.all(|digit| Some(digit) == first);
    if digits.len() < PHONE_DIGITS_MIN || is_placeholder {
        return String::new();
    }
    digits.to_owned()
}

/// Digits as keyboards of other scripts write them are digits, too.
fn digit(c: char) -> Option<char> {
    let zeros = ['0', '٠', '۰', '०', '０'];
    let value = zeros
        .iter()
        .find_map(|zero| (c as u32).checked_sub(*zero as u32).filter(|value| *value < 10))?;
    char::from_digit(value, 10)
}

/// The host of a URL or an e-mail address, without `www.`; a text without a dot names no domain (`n/a`).
fn domain(text: &str) -> String {
    let lower = text.trim().to_lowercase();
    let host = lower.split_once("://").map_or(lower.as_str(), |(_, rest)| rest);
    let host = host.trim_start_matches('/');
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.');
    let host = host.strip_prefix("www.").unwrap_or(host);
    let is_domain = host.contains('.') && !host.contains(char::is_whitespace);
    if is_domain { readable(host) } else { String::new() }
}

/// A host name with its labels as people write them: `xn--mller-kva.de` is `müller.de`.
fn readable(host: &str) -> String {
    let label = |label: &str| {
        label
            .strip_prefix("xn--")
            .and_then(punycode)
            .unwrap_or_else(|| label.to_owned())
    };
    host.split('.').map(label).collect::<Vec<_>>().join(".")
}

/// Longest label of a host name.
const LABEL_BYTES_MAX: usize = 63;

/// Decodes a label of an internationalised host name (RFC 3492); `None` when it is none.
fn punycode(encoded: &str) -> Option<String> {
    const BASE: u32 = 36;
    if encoded.len() > LABEL_BYTES_MAX {
        return None;
    }
    let (plain, tail) = encoded.rsplit_once('-').unwrap_or(("", encoded));
    let mut decoded: Vec<char> = plain.chars().collect();
    let (mut code, mut index, mut bias) = (128_u32, 0_u32, 72_u32);
    let mut digits = tail.chars();
    while !digits.as_str().is_empty() {
        let before = index;
        let (mut weight, mut k) = (1_u32, BASE);
        loop {
            let digit = match digits.next()? {
                letter @ 'a'..='z' => letter as u32 - 'a' as u32,
                number @ '0'..='9' => number as u32 - '0' as u32 + 26,
                _ => return None,
            };
            index = index.checked_add(digit.checked_mul(weight)?)?;
            let threshold = k.saturating_sub(bias).clamp(1, 26);
            if digit < threshold {
                break;
            }
            weight = weight.checked_mul(BASE - threshold)?;
            k += BASE;
        }
        let length = u32::try_from(decoded.len()).ok()? + 1;
        bias = adapted(index - before, length, before == 0);
        code = code.checked_add(index / length)?;
        index %= length;
        decoded.insert(index as usize, char::from_u32(code)?);
        index += 1;
    }
    Some(decoded.into_iter().collect::<String>().to_lowercase())
}

fn adapted(delta: u32, length: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / length;
    let mut k = 0;
    while delta > 455 {
        delta /= 35;
        k += 36;
    }
    k + 36 * delta / (delta + 38)
}

/// Legal forms say nothing about identity: "Contoso Ltd." and "Contoso Limited" are one company.
const LEGAL_FORMS: [&str; 36] = [
    "ab",
    "ag",
    "aps",
    "bv",
    "bvba",
    "co",
    "company",
    "corp",
    "corporation",
    "eg",
    "ek",
    "ev",
    "gmbh",
    "inc",
    "incorporated",
    "kft",
    "kg",
    "kgaa",
    "limited",
    "llc",
    "llp",
    "lp",
    "ltd",
    "mbh",
    "nv",
    "ohg",
    "oy",
    "plc",
    "pty",
    "pvt",
    "sa",
    "sarl",
    "sas",
    "se",
    "sl",
    "srl",
];

/// Legal forms that are words as well: they count only where they are written with dots (`S.p.A.`, not `Spa`).
const DOTTED_FORMS: [&str; 4] = ["as", "doo", "spa", "zoo"];

/// A company's or a person's name: words without accents, punctuation and legal forms. The first word is never taken for a legal form, and a
/// name that has nothing else keeps what it has.
fn name(text: &str) -> String {
    let plain: String = text.to_lowercase().chars().flat_map(unaccented).collect();
    // Dots and apostrophes belong to their word (`L.L.C.`, `O'Neil`); everything else that is no letter parts two words.
    let parts = plain
        .split(|c: char| !c.is_alphanumeric() && !is_inside_words(c))
        .map(|word| {
            (
                word.trim_matches('.').contains('.'),
                word.replace(is_inside_words, ""),
            )
        });
    let all: Vec<(bool, String)> = parts
        .filter(|(_, word)| !word.is_empty() && word != "and")
        .collect();
    let says_something = |(at, (dotted, word)): &(usize, &(bool, String))| {
        let is_form = LEGAL_FORMS.contains(&word.as_str())
            || *dotted && DOTTED_FORMS.contains(&word.as_str())
            || *at + 1 == all.len() && word == "the";
        *at == 0 || !is_form
    };
    let mut kept: Vec<&str> = all
        .iter()
        .enumerate()
        .filter(says_something)
        .map(|(_, (_, word))| word.as_str())
        .collect();
    if kept.len() > 1 && kept[0] == "the" {
        kept.remove(0);
    }
    kept.join(" ")
}

fn is_inside_words(c: char) -> bool {
    matches!(c, '.' | '\'' | '’' | '`' | '´')
}

/// Accented letters and the plain ones that people type for them.
const UNACCENTED: [(&str, &str); 33] = [
    ("àáâãäåāăą", "a"),
    ("çćĉċč", "c"),
    ("ďđð", "d"),
    ("èéêëēĕėęě", "e"),
    ("ĝğġģ", "g"),
    ("ĥħ", "h"),
    ("ìíîïĩīĭįı", "i"),
    ("ĵ", "j"),
    ("ķ", "k"),
    ("ĺļľŀł", "l"),
    ("ñńņňŉ", "n"),
    ("òóôõöøōŏő", "o"),
    ("ŕŗř", "r"),
    ("śŝşšș", "s"),
    ("ţťŧț", "t"),
    ("ùúûüũūŭůűų", "u"),
    ("ŵ", "w"),
    ("ýÿŷ", "y"),
    ("źżž", "z"),
    ("ß", "ss"),
    ("æ", "ae"),
    ("œ", "oe"),
    ("þ", "th"),
    ("ĳ", "ij"),
    ("ά", "α"),
    ("έ", "ε"),
    ("ή", "η"),
    ("ίϊΐ", "ι"),
    ("ό", "ο"),
    ("ύϋΰ", "υ"),
    ("ώ", "ω"),
    ("ς", "σ"),
    ("ё", "е"),
];

/// A letter without its accent, whether the two are one character or a letter and a mark behind it.
fn unaccented(c: char) -> impl Iterator<Item = char> {
    let plain = match UNACCENTED.iter().find(|(accented, _)| accented.contains(c)) {
        Some((_, plain)) => (*plain).to_owned(),
        None if ('\u{300}'..='\u{36f}').contains(&c) => String::new(),
        None if c == '&' || c == '+' => " and ".to_owned(),
        None => c.to_string(),
    };
    plain.chars().collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(normaliser: Normaliser, text: &str) -> Option<String> {
        normaliser.apply(&Value::from(text))
    }

    #[test]
    fn keys() {
        use Normaliser::*;
        #[rustfmt::skip]
        let cases: &[(Normaliser, &str, Option<&str>)] = &[
            (Text, "  Big   Co ", Some("big co")),
            (Text, "   ", None),
            (Exact, " Big", Some(" Big")),
            (Email, " A@B.com ", Some("a@b.com")),
            (Email, "Ann Lee <Ann@B.com>", Some("ann@b.com")),
            (Email, "mailto:ann@b.com", Some("ann@b.com")),
            (Email, "ann@xn--mller-kva.de", Some("ann@müller.de")),
            (Email, "ann@MÜLLER.de", Some("ann@müller.de")),
            (Email, "ann+shop@b.com", Some("ann+shop@b.com")),
            (Email, "", None),
            (Email, "<Ann@B.com.>", Some("ann@b.com")),
            (Email, "Ann <ann@b.com", Some("ann <ann@b.com")),
            (Email, "postmaster", Some("postmaster")),
            (Phone, "1234", Some("1234")),
            (Phone, "123", None),
            (Phone, "1111", None),
            (Phone, "1112", Some("1112")),
            (Phone, "＋49 (0)30 12345", Some("493012345")),
            (Phone, "00 (0)", None),
            (Phone, "0 049 30", Some("004930")),
            (Phone, "/0049:30", Some("004930")),
            (Domain, "xn--egbpdaj6bu4bxfgehfvwxn.example", Some("ليهمابتكلموشعربي؟.example")),
            (Domain, "xn--ihqwcrb4cv8a8dqg056pqjye.example", Some("他们为什么不说中文.example")),
            (Domain, "xn--3b-ww4c5e180e575a65lsy2b.example", Some("3年b組金八先生.example")),
            (Domain, "xn--porqunopuedensimplementehablarenespaol-fmd56a.es", Some("porquénopuedensimplementehablarenespañol.es")),
            (Domain, "xn--99999999.example", Some("xn--99999999.example")),
            (Domain, "xn--a_b.example", Some("xn--a_b.example")),
            (Phone, "+49 (0) 30/12345", Some("493012345")),
            (Phone, "0049 30 12345", Some("493012345")),
            (Phone, "(030) 12345", Some("03012345")),
            (Phone, "(0)30 12345", Some("03012345")),
            (Phone, "518-555-0100 x12", Some("518555010012")),
            (Phone, "٥١٨ ٥٥٥ ٠١٠٠", Some("5185550100")),
            (Phone, "ext.", None),
            (Phone, "110", None),
            (Phone, "000-0000", None),
            (Domain, "https://www.Contoso.com/x", Some("contoso.com")),
            (Domain, "me@contoso.com", Some("contoso.com")),
            (Domain, "HTTP://user:pw@contoso.com:8080?a=b@c", Some("contoso.com")),
            (Domain, "//contoso.com.", Some("contoso.com")),
            (Domain, "contoso.com/team@work", Some("contoso.com")),
            (Domain, "xn--mller-kva.de", Some("müller.de")),
            (Domain, "xn--fiqs8s.xn--e1afmkfd.example", Some("中国.пример.example")),
            (Domain, "shop.contoso.com", Some("shop.contoso.com")),
            (Domain, "n/a", None),
            (Domain, "to be asked. later", None),
            (Name, "Contoso, Ltd.", Some("contoso")),
            (Name, "Contoso L.L.C.", Some("contoso")),
            (Name, "Contoso GmbH & Co. KG", Some("contoso")),
            (Name, "Contoso Ltd (Berlin)", Some("contoso berlin")),
            (Name, "Barilla S.p.A.", Some("barilla")),
            (Name, "Wellness Spa", Some("wellness spa")),
            (Name, "SA Recycling", Some("sa recycling")),
            (Name, "Smith & Sons", Some("smith sons")),
            (Name, "Smith and Sons", Some("smith sons")),
            (Name, "The Home Depot", Some("home depot")),
            (Name, "Home Depot, The", Some("home depot")),
            (Name, "The The", Some("the")),
            (Name, "O’Neil's", Some("oneils")),
            (Name, "Café Zürich", Some("cafe zurich")),
            (Name, "Cafe\u{301} Zu\u{308}rich", Some("cafe zurich")),
            (Name, "Straßenbau", Some("strassenbau")),
            (Name, "Łódź Søren", Some("lodz soren")),
            (Name, "日本語 株式会社", Some("日本語 株式会社")),
            (Name, "Co", Some("co")),
            (Name, "&", None),
            (Name, "!?", None),
        ];
        for (normaliser, text, expected) in cases {
            assert_eq!(
                key(*normaliser, text).as_deref(),
                *expected,
                "{normaliser:?} {text:?}"
            );
        }
    }

    #[test]
    fn what_differs_stays_apart() {
        use Normaliser::*;
        let apart = [
            (Email, "ann@b.com", "ann+shop@b.com"),
            (Email, "ann@müller.de", "ann@mueller.de"),
            (Phone, "518-555-0100", "518-555-0100 ext. 1"),
            (Domain, "contoso.com", "contoso.de"),
            (Domain, "contoso.com", "shop.contoso.com"),
            (Name, "Contoso", "Contoso Berlin"),
            (Name, "Müller", "Mueller"),
            (Name, "Wellness", "Wellness Spa"),
        ];
        for (normaliser, a, b) in apart {
            assert_ne!(key(normaliser, a), key(normaliser, b), "{a} {b}");
        }
    }

    #[test]
    fn a_key_of_a_key_is_the_key_and_nonsense_is_survived() {
        use Normaliser::*;
        let pieces = [
            "xn--",
            "xn--a",
            "xn--99999999",
            "-",
            "@",
            ".",
            "..",
            "<",
            ">",
            "+",
            "00",
            "(0)",
            "ß",
            "İ",
            "the",
            "co",
            "a.b",
            "12345",
            " ",
            "é",
            "\u{301}",
            "www.",
            "://",
            "mailto:",
        ];
        for a in pieces {
            for b in pieces {
                for c in pieces {
                    let text = format!("{a}{b}{c}");
                    for normaliser in [Text, Name] {
                        if let Some(once) = key(normaliser, &text) {
                            assert_eq!(key(normaliser, &once), Some(once), "{normaliser:?} {text:?}");
                        }
                    }
                    for normaliser in [Email, Phone, Domain] {
                        assert_ne!(key(normaliser, &text).as_deref(), Some(""), "{text:?}");
                    }
                }
            }
        }
    }
}
