//! `discover`.

use seamless_host::{Config, Discovered, discover as look};

use crate::exit::Exit;
use crate::output::{Output, Tone, clean, table};
use crate::plugins::plugins;

/// Options named in one line.
const OPTIONS_SHOWN_MAX: usize = 12;

pub(super) async fn discover(
    config: &Config,
    system: Option<&str>,
    entity: Option<&str>,
    output: &Output,
) -> anyhow::Result<Exit> {
    let found = look(config, &plugins(), system, entity).await?;
    output.print(&found, || found.iter().map(|one| text(one, output)).collect())?;
    Ok(Exit::Done)
}

fn text(found: &Discovered, output: &Output) -> String {
    let rights = match (found.info.can_create, found.info.can_update) {
        (true, true) => "can be created and updated",
        (true, false) => "can be created, not updated",
        (false, true) => "can be updated, not created",
        (false, false) => "can only be read",
    };
    let head = output.paint(Tone::Head, format!("{} {}", found.system, found.entity));
    if found.info.fields.is_empty() {
        return format!("{head}: the system does not describe itself\n\n");
    }
    let mut rows = Vec::new();
    for field in &found.info.fields {
        let mut facts = Vec::new();
        facts.extend(
            field
                .length
                .filter(|length| *length > 0)
                .map(|length| format!("{length} characters")),
        );
        facts.extend(field.required.then(|| "required".to_owned()));
        facts.extend(field.read_only.then(|| "read-only".to_owned()));
        facts.extend(
            field
                .reference
                .as_ref()
                .map(|entity| format!("points to {entity}")),
        );
        rows.push(vec![
            clean(&field.name),
            clean(&field.data_type),
            clean(&facts.join(", ")),
        ]);
        let options = field.options.as_deref().unwrap_or_default();
        let shown = options.iter().take(OPTIONS_SHOWN_MAX).map(|option| {
            let inactive = if option.active { "" } else { " (inactive)" };
            let value = option.value.to_plain().unwrap_or_default();
            format!("{value} = {}{inactive}", option.label)
        });
        let mut line = shown.collect::<Vec<_>>().join(", ");
        if options.len() > OPTIONS_SHOWN_MAX {
            line += &format!(
                " and {} more (--json shows all)",
                options.len() - OPTIONS_SHOWN_MAX
            );
        }
        if !line.is_empty() {
            rows.push(vec![String::new(), String::new(), clean(&line)]);
        }
    }
    let dependent: String = found
        .dependent
        .iter()
        .map(|list| format!("  {} depends on {}\n", clean(&list.field), clean(&list.parent)))
        .collect();
    format!(
        "{head}: {} fields, {rights}\n{}{dependent}\n",
        found.info.fields.len(),
        table(&rows)
    )
}
