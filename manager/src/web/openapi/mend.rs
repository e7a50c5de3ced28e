//! What utoipa writes otherwise than readers of OpenAPI 3.1 expect it.

use serde_json::{Value, json};

/// Puts a whole description right.
///
/// Numbers without a sign have formats that nobody knows (`u-int32`), bytes are arrays of numbers, and a
/// body that need not come may be null.
pub(super) fn mend(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(format)) = fields.get_mut("format")
                && let Some(bits) = format.strip_prefix("u-int")
            {
                *format = format!("uint{bits}");
            }
            if let Some(content) = fields.get_mut("content") {
                mend_content(content);
            }
            if let Some(body) = fields.get_mut("requestBody").filter(|body| !is_required(body)) {
                mend_optional(body);
            }
            fields.values_mut().for_each(mend);
        }
        Value::Array(items) => items.iter_mut().for_each(mend),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Bytes are bytes.
fn mend_content(content: &mut Value) {
    for bytes in ["application/octet-stream", "application/zip"] {
        if let Some(media) = content.get_mut(bytes) {
            media["schema"] = json!({ "type": "string", "format": "binary" });
        }
    }
}

fn is_required(body: &Value) -> bool {
    body["required"] == true
}

/// It is not there, or it is what it is.
fn mend_optional(body: &mut Value) {
    let Some(schema) = body.pointer_mut("/content/application~1json/schema") else { return };
    let Some(either) = schema["oneOf"].as_array() else { return };
    if let Some(body) = either.iter().find(|one| one["type"] != "null") {
        *schema = body.clone();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::mend;

    #[test]
    fn what_is_odd_is_put_right() {
        let mut found = json!({
            "requestBody": {"content": {"application/json": {
                "schema": {"oneOf": [{"type": "object"}, {"type": "null"}]},
            }}},
            "responses": {"200": {"content": {"application/zip": {
                "schema": {"type": "array", "items": {"format": "u-int8"}},
            }}}},
            "parameters": [{"schema": {"format": "u-int64"}}],
        });
        mend(&mut found);
        let expected = json!({
            "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
            "responses": {"200": {"content": {"application/zip": {
                "schema": {"type": "string", "format": "binary"},
            }}}},
            "parameters": [{"schema": {"format": "uint64"}}],
        });
        assert_eq!(found, expected);
    }
}
