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

/// `a` and `b`: `namespace/name`.
pub fn is_same_namespace(a: &str, b: &str) -> bool {
    let namespace = |name: &str| name.split_once('/').map(|(namespace, _)| namespace.to_owned());
    namespace(a) == namespace(b)
}

/// The name of the resource `other` in the status of `viewer`. A reader of one namespace need not know the resources of
/// another.
pub fn shown_name(viewer: &str, other: &str) -> String {
    if is_same_namespace(viewer, other) { other.to_owned() } else { "a resource in another namespace".to_owned() }
}

/// `namespace/name`.
pub fn namespaced_name(resource: &ResourceRef) -> String {
    format!("{}/{}", namespace(resource), resource.name)
}
