//! The fuzz targets on their corpus and on a seeded swarm of mutants of it: seconds of what `fuzz/` does for hours.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use seamless_tests::fuzz::{TARGETS, mutate};
use seamless_tests::{Rng, workspace};

const MUTANTS: u64 = 400;
/// Of the whole process, all targets together: what they may take beyond code and corpus.
const MEMORY_MIB_MAX: u64 = 256;

#[test]
fn no_input_does_harm() {
    for target in TARGETS {
        let corpus = target.corpus();
        for input in &corpus {
            (target.run)(input);
        }
        for seed in 0..MUTANTS {
            let input = mutate(&mut Rng::new(seed), &corpus);
            let survived = std::panic::catch_unwind(|| (target.run)(&input)).is_ok();
            assert!(survived, "{} fails on mutant {seed}", target.name);
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib / 1024 < MEMORY_MIB_MAX, "{} MiB at the peak", kib / 1024);
}

/// A target that is in the one place and not in the other is run by nobody.
#[test]
fn every_target_has_its_file_and_its_place_in_the_manifest() {
    let manifest = std::fs::read_to_string(workspace().join("fuzz/Cargo.toml")).unwrap();
    for target in TARGETS {
        let path = format!("fuzz_targets/{}.rs", target.name);
        let file = std::fs::read_to_string(workspace().join("fuzz").join(&path)).unwrap();
        assert!(
            file.contains(&format!("run(\"{}\", ", target.name)),
            "{path} runs another target"
        );
        assert!(
            manifest.contains(&format!("path = \"{path}\"")),
            "{path} is not in fuzz/Cargo.toml"
        );
    }
    let files = std::fs::read_dir(Path::new(workspace()).join("fuzz/fuzz_targets")).unwrap();
    assert_eq!(files.count(), TARGETS.len());
}
