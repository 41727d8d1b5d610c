//! The description of the routes at `/openapi.json`.

use serde_json::Value;

const DOCUMENT: &str = include_str!("openapi.json");

/// The document, with the version of this program.
pub fn document() -> Value {
    // A test reads it, so it is JSON.
    let mut document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    document
}
