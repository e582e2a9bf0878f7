//! Child processes that always end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value as Json;

use crate::binary;

/// How a process ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Exit code; -1 after a signal.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

impl Ended {
    /// Its output as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Everything it said.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A process at work. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: [PathBuf; 2],
}

const LOOK: Duration = Duration::from_millis(10);

impl Running {
    /// Starts `seamless` in a folder; its output goes to files there, so that no full pipe can block it.
    pub(crate) fn start(folder: &Path, name: &str, environment: &[(&str, &str)], args: &[&str]) -> Running {
        let output = ["out", "err"].map(|end| folder.join(format!("{name}.{end}")));
        let [stdout, stderr] = output
            .each_ref()
            .map(|file| File::create(file).expect("an output file can be made"));
        let child = Command::new(binary())
            .current_dir(folder)
            .args(args)
            .env("RUST_BACKTRACE", "1")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("seamless can be started");
        Running { child, output }
    }

    /// Waits for its end; kills it and panics when that takes too long.
    ///
    /// # Panics
    /// After the time given.
    pub fn wait(mut self, at_most: Duration) -> Ended {
        let mut left = at_most;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return self.ended(status.code().unwrap_or(-1));
            }
            if left.is_zero() {
                self.end_now();
                panic!("seamless did not end within {at_most:?}: {:?}", self.ended(-1));
            }
            std::thread::sleep(LOOK);
            left = left.saturating_sub(LOOK);
        }
    }

    /// Lets it work for a while, then kills it unless it has ended.
    pub fn kill_after(mut self, life: Duration) -> Ended {
        let mut left = life;
        while self.is_alive() && !left.is_zero() {
            std::thread::sleep(LOOK);
            left = left.saturating_sub(LOOK);
        }
        self.kill()
    }

    /// `kill -9`, in the middle of whatever it does.
    pub fn kill(mut self) -> Ended {
        self.end_now();
        self.ended(-1)
    }

    fn end_now(&mut self) {
        // It may have ended by itself: as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Whether it is still at work.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn ended(&self, code: i32) -> Ended {
        let [stdout, stderr] = self
            .output
            .each_ref()
            .map(|file| String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned());
        Ended { code, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end_now();
    }
}
