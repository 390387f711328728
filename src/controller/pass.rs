//! The input of a reconcile pass. It does not change while the pass runs.

use crate::api::{LyncPoolMirror, LyncPoolMirrorStatus, ParsedSpec};
use crate::controller::Error;
use crate::controller::object::{ResourceRef, namespaced_name};
use crate::model::{Operation, PersistedState};

/// The resource of a pass, with the metadata that only the API server sets.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    pub resource: &'a ResourceRef,
    pub mirror: &'a LyncPoolMirror,
    pub uid: &'a str,
}

impl<'a> Identity<'a> {
    /// # Errors
    /// [`Error::Incomplete`] if the metadata lacks a field that the API server sets on every object.
    pub fn new(resource: &'a ResourceRef, mirror: &'a LyncPoolMirror) -> Result<Self, Error> {
        let missing = |field| Error::Incomplete { resource: namespaced_name(resource), field };
        let uid = mirror.metadata.uid.as_deref().ok_or_else(|| missing("metadata.uid"))?;
        mirror.metadata.generation.ok_or_else(|| missing("metadata.generation"))?;
        Ok(Self { resource, mirror, uid })
    }

    pub fn status(&self) -> Option<&'a LyncPoolMirrorStatus> {
        self.mirror.status.as_ref()
    }
}

/// The identity, the parsed spec and the persisted state of a resource.
pub struct Pass<'a> {
    pub identity: Identity<'a>,
    pub spec: ParsedSpec,
    pub persisted: PersistedState,
}

impl<'a> Pass<'a> {
    pub fn resource(&self) -> &'a ResourceRef {
        self.identity.resource
    }

    /// `namespace/name`.
    pub fn name(&self) -> String {
        namespaced_name(self.identity.resource)
    }

    pub fn uid(&self) -> &'a str {
        self.identity.uid
    }

    /// The operation in the journal at the start of the pass.
    pub fn operation(&self) -> Option<&Operation> {
        self.persisted.operation.as_ref()
    }

    /// The port in the status at which the operator last logged in to the instance with this address.
    pub fn last_port(&self, address: &str) -> Option<u16> {
        let status = self.identity.status().filter(|status| status.resource_uid.as_deref() == Some(self.uid()))?;
        let server = status.servers.iter().find(|server| server.address == address)?;
        u16::try_from(server.last_port?).ok().filter(|port| *port != 0)
    }

    /// What a comparison of the servers is about: the resource, its servers and their mirroring sessions, as the status had them
    /// at the start of the pass.
    pub fn compared(&self) -> String {
        let types = self.persisted.tracking.values().map(|tracking| {
            let pair = tracking.pair.iter().map(|pair| format!("{} {}", pair.primary.name, pair.mirror.name));
            pair.chain(tracking.sessions.values().map(ToString::to_string)).collect::<Vec<_>>().join(" ")
        });
        [self.uid().to_owned()].into_iter().chain(types).collect::<Vec<_>>().join("/")
    }
}
