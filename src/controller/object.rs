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

/// The namespace of `namespace/name`.
pub fn namespace_of(resource: &str) -> &str {
    resource.split_once('/').map_or("", |(namespace, _)| namespace)
}

/// The reference of `namespace/name`.
pub fn resource_ref(resource: &str) -> ResourceRef {
    let (namespace, name) = resource.split_once('/').unwrap_or(("", resource));
    ResourceRef::new(name).within(namespace)
}

/// The name of the resource `other` in the status of `viewer`. A reader of one namespace need not know the resources of
/// another.
pub fn shown_name(viewer: &str, other: &str) -> String {
    if namespace_of(viewer) == namespace_of(other) {
        other.to_owned()
    } else {
        "a resource in another namespace".to_owned()
    }
}

/// `namespace/name`.
pub fn namespaced_name(resource: &ResourceRef) -> String {
    format!("{}/{}", namespace(resource), resource.name)
}
