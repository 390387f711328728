//! The type of a watched resource, and its names.

use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;

use crate::api::LyncPoolMirror;

/// A watched resource. A resource that cannot be decoded must not stop the watch of all others.
pub type WatchedResource = DeserializeGuard<LyncPoolMirror>;
pub type ResourceRef = ObjectRef<WatchedResource>;

/// The namespace of a resource. LyncPoolMirror is a namespaced kind, so that the API server always sets the namespace.
pub fn namespace(resource: &ResourceRef) -> &str {
    resource.namespace.as_deref().unwrap_or_default()
}

/// `namespace/name`.
pub fn namespaced_name(resource: &ResourceRef) -> String {
    format!("{}/{}", namespace(resource), resource.name)
}
