//! Checks, runs and answers of the real binary.

mod common;

use common::{Tenant, text};
use seamless_sandbox::{Config, System};

#[tokio::test(flavor = "multi_thread")]
async fn a_first_load_settles_and_a_second_run_writes_nothing() {
    let tenant = Tenant::start(Config { records: 300, ..Config::default() }).await;
    let (exit, report) = tenant.json(&["check"]).await;
    assert_eq!(exit, 0, "{report:#}");

    let (exit, summary) = tenant.json(&["run", "--once"]).await;
    assert!(exit == 0 || exit == 4, "{exit} {summary:#}");
    assert_eq!(summary["settled"], true, "{summary:#}");
    eprintln!("{summary:#}");
    let truth = tenant.sandbox.truth(System::Autotask);
    eprintln!("{truth:#}");
    let writes = writes(&tenant);

    let (_, again) = tenant.json(&["run", "--once"]).await;
    assert_eq!(again["settled"], true, "{again:#}");
    assert_eq!(writes, self::writes(&tenant), "{again:#}");

    let out = tenant.run(&["status", "--parked"]).await;
    eprintln!("{}", text(&out.stdout));
}

fn writes(tenant: &Tenant) -> String {
    tenant.sandbox.stats().to_string()
}
