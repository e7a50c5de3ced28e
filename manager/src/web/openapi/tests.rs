//! That the description is whole: every route of the API is in it, under its own address, and nothing in
//! it leads nowhere.

use std::collections::BTreeSet;

use serde_json::Value;

use super::document;
use crate::web::routes::table;

/// Calls `look` with every value in a document, those within others as well.
fn walk(value: &Value, look: &mut impl FnMut(&Value)) {
    look(value);
    match value {
        Value::Object(fields) => fields.values().for_each(|field| walk(field, look)),
        Value::Array(items) => items.iter().for_each(|item| walk(item, look)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_route_of_the_api_says_what_it_is() {
    for route in table() {
        let is_api = route.listed.path.starts_with("/api/");
        match &route.says {
            Some(says) => assert!(says.is_of(&route.listed), "{:?}: {says:?}", route.listed),
            None => assert!(!is_api, "{:?} is not documented", route.listed),
        }
    }
}

#[test]
fn nothing_leads_nowhere() {
    let document = document(table());
    walk(&document, &mut |value| {
        let Some(target) = value.get("$ref").and_then(Value::as_str) else { return };
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target}");
    });
}

#[test]
fn every_operation_has_a_name_of_its_own_and_words() {
    let document = document(table());
    let operations = document["paths"].as_object().unwrap().values();
    let mut names = BTreeSet::new();
    for operation in operations.flat_map(|methods| methods.as_object().unwrap().values()) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{name} is there twice");
        assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{name}");
        assert!(
            document["tags"]
                .as_array()
                .unwrap()
                .iter()
                .any(|tag| tag["name"] == operation["tags"][0]),
            "{name}"
        );
        for (status, response) in operation["responses"].as_object().unwrap() {
            let is_told = response.get("$ref").is_some() || response.get("description").is_some();
            assert!(is_told, "{name}: {status}");
        }
    }
}
