//! Who owns a field: Argo CD, Flux, another tool, or kubectl in the hands of an administrator. Pure.

use serde_json::Value;

/// What a field manager means for a write of another one.
#[derive(Debug, Clone, PartialEq)]
pub enum Owner {
    /// A tool that keeps its own copy of the field, and restores it.
    Tool(String),
    /// `kubectl apply`: a file has the field, and the next apply of it restores the former value.
    File(String),
    /// `kubectl edit`, `patch` or `create`: no copy exists.
    Administrator(String),
}

impl Owner {
    /// `object`: the resource, whose labels and annotations name the application.
    pub fn of(manager: &str, object: &Value) -> Owner {
        match manager {
            "kubectl-client-side-apply" | "kubectl" => Owner::File(manager.to_owned()),
            "kubectl-edit" | "kubectl-patch" | "kubectl-create" | "kubectl-replace" | "kubectl-annotate" => {
                Owner::Administrator(manager.to_owned())
            }
            _ => Owner::Tool(described(manager, object)),
        }
    }
}

/// The tool with its application, as far as the resource names it.
fn described(manager: &str, object: &Value) -> String {
    let meta = |kind: &str, key: &str| object["metadata"][kind][key].as_str().map(str::to_owned);
    let named = |kind: &str, keys: [&str; 2]| {
        let [namespace, name] = keys.map(|key| meta("labels", key));
        Some(format!("{kind} {}/{}", namespace?, name?))
    };
    let what = if manager.starts_with("argocd") {
        let tracked = meta("annotations", "argocd.argoproj.io/tracking-id");
        let application = tracked.as_deref().and_then(|id| id.split(':').next()).map(str::to_owned);
        let application = application
            .or_else(|| meta("labels", "argocd.argoproj.io/instance"))
            .or_else(|| meta("labels", "app.kubernetes.io/instance"));
        Some(application.map_or("Argo CD".to_owned(), |name| format!("the Argo CD application {name}")))
    } else {
        match manager {
            "kustomize-controller" => Some(
                named(
                    "the Flux Kustomization",
                    ["kustomize.toolkit.fluxcd.io/namespace", "kustomize.toolkit.fluxcd.io/name"],
                )
                .unwrap_or("Flux".to_owned()),
            ),
            "helm-controller" => Some(
                named("the Flux HelmRelease", ["helm.toolkit.fluxcd.io/namespace", "helm.toolkit.fluxcd.io/name"])
                    .unwrap_or("Flux".to_owned()),
            ),
            "helm" => meta("annotations", "meta.helm.sh/release-name").map(|name| format!("the Helm release {name}")),
            _ => None,
        }
    };
    what.map_or_else(|| format!("the field manager {manager}"), |what| format!("{what} (field manager {manager})"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn owner_of_each_manager_is_named() {
        let object = json!({"metadata": {
            "labels": {
                "kustomize.toolkit.fluxcd.io/name": "lync", "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
            },
            "annotations": {"argocd.argoproj.io/tracking-id": "pools:lyncmirror.io/LyncPoolMirror:lync/pool01"},
        }});
        let plain = json!({"metadata": {}});
        for (manager, object, expected) in [
            ("argocd-controller", &object, "the Argo CD application pools (field manager argocd-controller)"),
            ("argocd-controller", &plain, "Argo CD (field manager argocd-controller)"),
            (
                "kustomize-controller",
                &object,
                "the Flux Kustomization flux-system/lync (field manager kustomize-controller)",
            ),
            ("kustomize-controller", &plain, "Flux (field manager kustomize-controller)"),
            ("terraform", &plain, "the field manager terraform"),
        ] {
            assert_eq!(Owner::of(manager, object), Owner::Tool(expected.to_owned()));
        }
        assert_eq!(Owner::of("kubectl", &plain), Owner::File("kubectl".to_owned()));
        assert_eq!(Owner::of("kubectl-edit", &plain), Owner::Administrator("kubectl-edit".to_owned()));
    }
}
