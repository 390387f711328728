//! Pools by name or by pool FQDN, as the cmdlets name a pool.

use kube::Api;
use kube::api::{DynamicObject, ListParams};

use crate::cli::arguments::PoolsArguments;
use crate::cli::cluster::client::Cluster;
use crate::cli::error::Error;
use crate::cli::output;
use crate::cli::pool::Pool;

const WHAT: &str = "lyncpoolmirrors.lyncmirror.io";

/// The pools with these names or FQDNs in the order of the arguments; every pool if there are none.
pub async fn pools(cluster: &Cluster, arguments: &PoolsArguments) -> Result<Vec<Pool>, Error> {
    let (names, all_namespaces) = (&arguments.pools, arguments.all_namespaces);
    let api = if all_namespaces { cluster.all_pools() } else { cluster.pools(&cluster.namespace) };
    let listed = list(&api).await?;
    if names.is_empty() {
        return Ok(listed);
    }
    let mut found = Vec::new();
    for name in names {
        let matched = matching(&listed, name);
        if !matched.is_empty() {
            // Several namespaces can have a pool of this name: without a change, all of them are meant.
            found.extend(matched.into_iter().cloned());
            continue;
        }
        found.push(
            elsewhere(cluster, name, all_namespaces)
                .await?
                .ok_or_else(|| missing(name, arguments.place(&cluster.namespace), &listed))?,
        );
    }
    Ok(found)
}

/// The only pool with this name or FQDN.
pub async fn pool(cluster: &Cluster, name: &str) -> Result<Pool, Error> {
    let listed = list(&cluster.pools(&cluster.namespace)).await?;
    match &matching(&listed, name)[..] {
        [] => elsewhere(cluster, name, false)
            .await?
            .ok_or_else(|| missing(name, format!("namespace {}", cluster.namespace), &listed)),
        [one] => Ok((*one).clone()),
        several => Err(ambiguous(name, several)),
    }
}

/// The pool of a verb that writes, and its title for the administrator. The namespace of the context is not left: a pool of
/// another namespace can be that of another tenant.
pub async fn pool_to_write(cluster: &Cluster, name: &str) -> Result<Pool, Error> {
    let listed = list(&cluster.pools(&cluster.namespace)).await?;
    let pool = match &named(&listed, name)[..] {
        [one] => (*one).clone(),
        [] => return Err(not_here(cluster, name, &listed).await),
        several => return Err(ambiguous(name, several)),
    };
    output::note(&pool.title());
    Ok(pool)
}

/// Where a pool is that the namespace does not have.
async fn not_here(cluster: &Cluster, name: &str, listed: &[Pool]) -> Error {
    let missing = || missing(name, format!("namespace {}", cluster.namespace), listed);
    if cluster.is_chosen {
        return missing();
    }
    // Without the right to list all namespaces, the place is not known.
    let all = list(&cluster.all_pools()).await.unwrap_or_default();
    let found = named(&all, name);
    if found.is_empty() { missing() } else { elsewhere_only(name, &cluster.namespace, &found) }
}

fn elsewhere_only(name: &str, namespace: &str, found: &[&Pool]) -> Error {
    Error::Elsewhere {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        found: found.iter().map(|pool| pool.title()).collect(),
        options: found.iter().map(|pool| format!("-n {}", pool.namespace)).collect(),
    }
}

/// The resource with this name.
pub async fn pool_in(cluster: &Cluster, namespace: &str, name: &str) -> Result<Pool, Error> {
    let object = cluster.pools(namespace).get(name).await.map_err(|error| Error::of_request(error, "get", WHAT))?;
    Pool::new(&object)
}

/// An administrator who names a pool may not know its namespace. A namespace that was chosen is not left.
async fn elsewhere(cluster: &Cluster, name: &str, was_everywhere: bool) -> Result<Option<Pool>, Error> {
    if was_everywhere || cluster.is_chosen {
        return Ok(None);
    }
    let listed = match list(&cluster.all_pools()).await {
        Ok(listed) => listed,
        Err(Error::Forbidden { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    match &matching(&listed, name)[..] {
        [] => Ok(None),
        [one] => Ok(Some((*one).clone())),
        several => Err(ambiguous(name, several)),
    }
}

async fn list(api: &Api<DynamicObject>) -> Result<Vec<Pool>, Error> {
    let listed = api.list(&ListParams::default()).await.map_err(|error| Error::of_request(error, "list", WHAT))?;
    let mut pools = Vec::new();
    for object in &listed.items {
        pools.push(Pool::new(object)?);
    }
    Ok(pools)
}

fn matching<'a>(pools: &'a [Pool], name: &str) -> Vec<&'a Pool> {
    let named: Vec<&Pool> = pools.iter().filter(|pool| pool.name == name).collect();
    if named.is_empty() { pools.iter().filter(|pool| pool.fqdn().eq_ignore_ascii_case(name)).collect() } else { named }
}

/// By name or by FQDN: for a write, a name must not hide an FQDN.
fn named<'a>(pools: &'a [Pool], name: &str) -> Vec<&'a Pool> {
    pools.iter().filter(|pool| pool.name == name || pool.fqdn().eq_ignore_ascii_case(name)).collect()
}

fn missing(name: &str, place: String, listed: &[Pool]) -> Error {
    let known: Vec<String> = listed.iter().map(|pool| format!("{} ({})", pool.name, pool.fqdn())).collect();
    let known = match known.len() {
        0 => "There is none.".to_owned(),
        _ => format!("There are: {}.", known.join(", ")),
    };
    Error::NoPool { name: name.to_owned(), place, known }
}

fn ambiguous(name: &str, found: &[&Pool]) -> Error {
    Error::Ambiguous { name: name.to_owned(), found: found.iter().map(|pool| pool.reference()).collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(namespace: &str, name: &str, fqdn: &str) -> Pool {
        Pool::of_value(json!({"metadata": {"namespace": namespace, "name": name}, "spec": {"poolFqdn": fqdn}}))
    }

    #[test]
    fn matching_prefers_a_name_and_else_takes_the_fqdn_without_case() {
        let pools =
            [pool("x", "a", "pool01.contoso.com"), pool("x", "pool01.contoso.com", "other"), pool("y", "b", "P2")];
        let names = |name| matching(&pools, name).iter().map(|pool| pool.reference()).collect::<Vec<_>>();
        assert_eq!(names("pool01.contoso.com"), ["x/pool01.contoso.com"]);
        assert_eq!(names("p2"), ["y/b"]);
        assert_eq!(names("A"), [""; 0]);
    }

    #[test]
    fn named_for_a_write_joins_names_and_fqdns() {
        let pools = [pool("x", "a", "P1.contoso.com"), pool("x", "p1.contoso.com", "other"), pool("x", "b", "p2")];
        let names = |name| named(&pools, name).iter().map(|pool| pool.reference()).collect::<Vec<_>>();
        assert_eq!(names("p1.contoso.com"), ["x/a", "x/p1.contoso.com"]);
        assert_eq!((names("P2"), names("b")), (vec!["x/b".to_owned()], vec!["x/b".to_owned()]));
        let error = elsewhere_only("b", "y", &[&pools[2]]);
        assert_eq!(
            error.to_string(),
            "No pool \"b\" in namespace y. There is p2 (x/b), and a command that writes does not leave the namespace of the context. Nothing was changed. To fix: repeat the command with -n x."
        );
        assert_eq!(error.exit().code(), 2);
    }

    #[test]
    fn missing_pool_names_those_that_exist() {
        let error = missing("pool9", "namespace x".to_owned(), &[pool("x", "a", "pool01.contoso.com")]);
        assert_eq!(
            error.to_string(),
            "No pool \"pool9\" in namespace x. There are: a (pool01.contoso.com). To fix: give a name or a pool FQDN, or set -n."
        );
    }
}
