//! Everything that reads bytes from elsewhere, as functions that take any bytes and must come back: without a panic, without an endless loop, in
//! bounded memory, and with an error that tells no content. `fuzz/` runs them under libFuzzer, `tests/tests/fuzz.rs` on a seeded corpus.

mod files;
mod peer;
mod remote;
mod sealed;

use std::path::PathBuf;

use crate::{Rng, workspace};

/// One target.
#[derive(Clone, Copy)]
pub struct Target {
    /// As its corpus folder and its file in `fuzz/fuzz_targets/` are called.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Inputs that go deep, to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 7] = [
    Target {
        name: "envelope",
        run: sealed::envelope,
        seeds: sealed::envelope_seeds,
    },
    Target {
        name: "plan",
        run: sealed::plan,
        seeds: sealed::plan_seeds,
    },
    Target {
        name: "keyset",
        run: sealed::keyset,
        seeds: sealed::keyset_seeds,
    },
    Target {
        name: "configuration",
        run: files::configuration,
        seeds: files::configuration_seeds,
    },
    Target {
        name: "manifest",
        run: remote::manifest,
        seeds: remote::manifest_seeds,
    },
    Target {
        name: "autotask",
        run: remote::autotask,
        seeds: remote::autotask_seeds,
    },
    Target {
        name: "cursor",
        run: remote::cursor,
        seeds: remote::cursor_seeds,
    },
];

/// Runs the target of this name: what a file in `fuzz/fuzz_targets/` does.
///
/// # Panics
/// When there is no such target, and when the input shows a mistake.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target of this name").run)(input);
}

impl Target {
    /// Seeds, and what was once found: `fuzz/corpus/<name>/`.
    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let mut inputs = (self.seeds)();
        let mut files: Vec<PathBuf> = std::fs::read_dir(workspace().join("fuzz/corpus").join(self.name))
            .map(|files| files.flatten().map(|file| file.path()).collect())
            .unwrap_or_default();
        files.sort();
        inputs.extend(files.iter().filter_map(|file| std::fs::read(file).ok()));
        inputs
    }
}

/// Between the parts of an input that has several.
const PART: u8 = 0x1e;

/// What grammars give a meaning to.
const WORDS: [&str; 22] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "-1",
    "1e400",
    "9223372036854775808",
    "0.1",
    "id",
    ":",
    ",",
    "\n",
    "= ",
    "[[",
    "{{",
    "\u{1e}",
    "\u{fffd}",
];

/// An input that somebody else would not have sent.
pub fn mutate(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = rng.pick(corpus).clone();
    for _ in 0..=rng.below(6) {
        let at = index(rng, input.len() + 1);
        let end = at + index(rng, (input.len() - at).min(64) + 1);
        match rng.below(8) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => {
                let repeated = input[at..end].repeat(1 + index(rng, 20));
                input.splice(at..at, repeated);
            }
            3 => drop(input.splice(at..end, rng.pick(&WORDS).bytes())),
            // Deep, not long.
            4 => {
                let word = rng.pick(&WORDS);
                input.splice(at..at, word.repeat(1 + index(rng, 2_000)).into_bytes());
            }
            5 => {
                let other = rng.pick(corpus);
                let from = index(rng, other.len() + 1);
                input.splice(at..end, other[from..].iter().copied());
            }
            6 if at < input.len() => input[at] = rng.number() as u8,
            _ if at < input.len() => input[at] ^= 1 << rng.below(8),
            _ => input.push(rng.number() as u8),
        }
        input.truncate(INPUT_BYTES_MAX);
    }
    input
}

const INPUT_BYTES_MAX: usize = 256 * 1024;

fn index(rng: &mut Rng, end: usize) -> usize {
    usize::try_from(rng.below(end as u64)).unwrap_or(0)
}

/// The text, as far as it is one.
fn text(input: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(input)
}

fn inputs<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
    texts.map(|text| text.as_bytes().to_vec()).into()
}
