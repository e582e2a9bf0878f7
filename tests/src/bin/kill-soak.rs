//! `cargo run --release -p seamless-tests --bin kill-soak -- 200 [SEED]`: kills the host that often, in worlds of 20 kills each.

use std::process::ExitCode;

use seamless_tests::kill::{Plan, round};
use seamless_tests::{binary, number};

const KILLS_A_WORLD: u32 = 20;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let (kills, seed) = match (args.next().unwrap_or(Ok(200)), args.next().unwrap_or(Ok(1))) {
        (Ok(kills), Ok(seed)) => (u32::try_from(kills).unwrap_or(u32::MAX), seed),
        _ => {
            eprintln!("usage: kill-soak [KILLS] [SEED]");
            return ExitCode::from(2);
        }
    };
    println!("{kills} kills of {}", binary().display());
    let mut left = kills;
    for world in 0.. {
        if left == 0 {
            break;
        }
        let plan = Plan {
            seed: seed + world,
            kills: left.min(KILLS_A_WORLD),
            records: 400,
            life_ms_max: 2_500,
        };
        let truth = round(plan);
        left -= plan.kills;
        println!(
            "seed {}: {} kills, {} pairs, {} edits; in step",
            plan.seed,
            plan.kills,
            number(&truth["pairs"]),
            number(&truth["person_edits"]),
        );
    }
    ExitCode::SUCCESS
}
