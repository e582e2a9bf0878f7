//! What every bus and every store must do, as suites that an implementation's test calls in a few lines.
//!
//! A suite runs all its cases, each on a fresh implementation from the factory, and reports every one that failed. Suites need no particular
//! executor; time comes from a [`TestClock`] that they move themselves. The suites have twins that must fail (`twins.rs`).

pub mod bus;
mod clock;
pub mod connector;
pub mod store;
#[cfg(test)]
mod twins;

pub use clock::TestClock;

/// What a suite says: nothing, or what was wrong.
pub type Verdict = Result<(), Wrong>;

/// One line (`case: what was wrong`) for each failed case. Shown line by line also where a test's `assert_eq!` shows it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Wrong(pub Vec<String>);

impl std::fmt::Debug for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Why a case failed.
pub(crate) struct Failure(String);

/// Outcome of one case.
pub(crate) type CaseResult<T = ()> = Result<T, Failure>;

impl From<seamless_core::Error> for Failure {
    fn from(error: seamless_core::Error) -> Failure {
        Failure(format!("unexpected error: {error:?}"))
    }
}

impl From<String> for Failure {
    fn from(reason: String) -> Failure {
        Failure(reason)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fails the case, with a formatted reason, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err(crate::conformance::Failure::from(format!($($reason)+)));
        }
    };
}

/// Runs every case with the same argument; collects the failures by name.
macro_rules! run_cases {
    ($argument:expr; $($case:ident),+ $(,)?) => {{
        let mut failures = Vec::new();
        $(if let Err(reason) = $case($argument).await {
            failures.push(format!("{}: {reason}", stringify!($case)));
        })+
        if failures.is_empty() { Ok(()) } else { Err(crate::conformance::Wrong(failures)) }
    }};
}

pub(crate) use {ensure, run_cases};
