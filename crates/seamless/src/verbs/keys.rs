//! `keys`.

use seamless_host::keys::{generate, generate_text};
use serde_json::json;

use crate::cli::Keys;
use crate::exit::Exit;
use crate::output::Output;

pub(super) fn keys(verb: &Keys, output: &Output) -> anyhow::Result<Exit> {
    let Keys::Generate { out } = verb;
    match out {
        Some(file) => {
            generate(file)?;
            let shown = file.display().to_string();
            output.print(&json!({ "keyset": shown }), || {
                format!(
                    "{shown} is made, readable by you alone.\nKeep a copy in a safe place that is not a backup of the data folder: \
                     without it the data cannot be read, with both anybody can.\n"
                )
            })?;
        }
        None => output.write(&generate_text()?)?,
    }
    Ok(Exit::Done)
}
