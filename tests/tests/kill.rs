//! The host is killed, again and again, and nothing is lost or doubled.

use seamless_tests::kill::{Plan, round};

#[test]
fn twenty_kills_leave_no_duplicate_and_lose_no_edit() {
    round(Plan {
        seed: 7,
        kills: 20,
        records: 200,
        life_ms_max: 900,
    });
}
