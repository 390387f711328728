//! What the controller watches, and how it names a resource.

use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;

use crate::api::LyncPoolMirror;

/// A resource as it is watched: one that cannot be decoded must not stop the watch of all others.
pub type WatchedResource = DeserializeGuard<LyncPoolMirror>;
pub type ResourceRef = ObjectRef<WatchedResource>;

/// The namespace of a resource. A LyncPoolMirror is namespaced, so that the API server serves none without one.
pub fn namespace(resource: &ResourceRef) -> &str {
    resource.namespace.as_deref().unwrap_or_default()
}

/// `namespace/name`.
pub fn namespaced_name(resource: &ResourceRef) -> String {
    format!("{}/{}", namespace(resource), resource.name)
}
