//! Dotted paths into JSON: `data.items`, `results.0.id`. An exact key wins over its parts, so keys with dots work.

use serde_json::{Map, Value as Json};

/// The value at a path; the whole body for the empty path.
pub(crate) fn dig<'a>(json: &'a Json, path: &str) -> Option<&'a Json> {
    if path.is_empty() {
        return Some(json);
    }
    match json {
        Json::Object(map) => {
            if let Some(value) = map.get(path) {
                return Some(value);
            }
            path.match_indices('.')
                .find_map(|(dot, _)| dig(map.get(&path[..dot])?, &path[dot + 1..]))
        }
        Json::Array(items) => {
            let (head, rest) = path.split_once('.').unwrap_or((path, ""));
            dig(items.get(head.parse::<usize>().ok()?)?, rest)
        }
        _ => None,
    }
}

/// Puts a value at a path, making objects on the way. A scalar in the way is replaced; a list is only entered where it has
/// such an element or can take one more.
pub(crate) fn put(json: &mut Json, path: &str, value: Json) {
    if path.is_empty() {
        *json = value;
        return;
    }
    if let Json::Array(items) = json {
        let (head, rest) = path.split_once('.').unwrap_or((path, ""));
        if let Ok(index) = head.parse::<usize>()
            && index <= items.len()
        {
            if index == items.len() {
                items.push(Json::Null);
            }
            return put(&mut items[index], rest, value);
        }
    }
    if !json.is_object() {
        *json = Json::Object(Map::new());
    }
    if let Json::Object(map) = json {
        match path.split_once('.') {
            Some((head, rest)) if !map.contains_key(path) => {
                put(map.entry(head).or_insert(Json::Null), rest, value);
            }
            _ => {
                map.insert(path.to_owned(), value);
            }
        }
    }
}

/// Takes the value at a path away.
pub(crate) fn remove(json: &mut Json, path: &str) {
    if let Json::Object(map) = json
        && map.remove(path).is_none()
        && let Some((head, rest)) = path.split_once('.')
        && let Some(inner) = map.get_mut(head)
    {
        remove(inner, rest);
    }
}

/// Text, number or truth value as plain text; `None` for null, lists and objects.
pub(crate) fn plain(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(truth) => Some(truth.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_through_objects_arrays_and_dotted_keys() {
        let body = json!({ "data": { "items": [{ "id": 7 }], "a.b": 1 }, "x.y": { "z": 2 } });
        assert_eq!(dig(&body, "data.items.0.id"), Some(&json!(7)));
        assert_eq!(dig(&body, "data.a.b"), Some(&json!(1)));
        assert_eq!(dig(&body, "x.y.z"), Some(&json!(2)));
        assert_eq!(dig(&body, "data.items.1"), None);
        assert_eq!(dig(&body, ""), Some(&body));
    }

    #[test]
    fn put_and_remove_keep_the_rest() {
        let mut body = json!({ "address": { "city": "Oslo", "zip": "1" }, "mails": [{ "at": "a" }] });
        put(&mut body, "address.city", json!("Bergen"));
        put(&mut body, "mails.0.at", json!("b"));
        put(&mut body, "mails.1.at", json!("c"));
        put(&mut body, "phone.work", json!("5"));
        remove(&mut body, "address.zip");
        remove(&mut body, "nothing.here");
        assert_eq!(
            body,
            json!({ "address": { "city": "Bergen" }, "mails": [{ "at": "b" }, { "at": "c" }], "phone": { "work": "5" } })
        );
    }
}
