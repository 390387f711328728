//! The CustomResourceDefinition as it is installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::api::LyncPoolMirror;

/// Generations begin with 1. Clients that compute a state by kstatus take a resource without a status for complete, so that
/// one that the operator has not read yet needs an observed generation.
const UNREAD: i64 = -1;

/// The CustomResourceDefinition with the default of the status.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = LyncPoolMirror::crd();
    let schemas = definition.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    for schema in schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut()) {
        if let Some(status) = status_of(schema) {
            status.default = Some(JSON(json!({ "observedGeneration": UNREAD })));
        }
    }
    definition
}

fn status_of(schema: &mut JSONSchemaProps) -> Option<&mut JSONSchemaProps> {
    schema.properties.as_mut()?.get_mut("status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_without_a_status_has_no_observed_generation_of_a_spec() {
        let definition = serde_json::to_value(definition()).unwrap();
        let status = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
        assert_eq!(status["default"], json!({"observedGeneration": -1}));
    }
}
