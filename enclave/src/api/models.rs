//! The list of models: always the one that is attested.

use serde::Serialize;

use crate::json;

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

impl<'a> Model<'a> {
    const fn new(id: &'a str, created: u64) -> Self {
        Self {
            id,
            object: "model",
            created,
            owned_by: "bastide",
        }
    }
}

/// The body of `GET /v1/models`. `created` is in seconds since the Unix epoch.
pub(crate) fn model_list(name: &str, created: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: [Model<'a>; 1],
    }
    json::encode(&List {
        object: "list",
        data: [Model::new(name, created)],
    })
}

/// The body of `GET /v1/models/NAME`.
pub(crate) fn model(name: &str, created: u64) -> Vec<u8> {
    json::encode(&Model::new(name, created))
}
