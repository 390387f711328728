//! Imports among the files of `src`: none may lead back to where it began.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::files::{code, is_test, root, rust_files};

/// Every file of `src` with the files that its `crate::` paths name.
struct Imports {
    files: BTreeMap<PathBuf, String>,
}

impl Imports {
    fn read() -> Self {
        let files = rust_files(&root().join("src")).into_iter().filter(|path| !is_test(path));
        Self { files: files.map(|path| (relative(&path), code(&path))).collect() }
    }

    /// The files that the code of `path` imports.
    fn of(&self, path: &Path) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for import in paths(&self.files[path]) {
            found.extend(self.resolve(&import));
        }
        // A facade that hands a name on imports the file that defines the name.
        for (child, _) in self.handed_on(path) {
            found.insert(child);
        }
        found.remove(path);
        found
    }

    /// The file that defines the last segment of `a::b::C`, through as many facades as there are.
    fn resolve(&self, import: &[String]) -> Option<PathBuf> {
        let mut at = PathBuf::from("src");
        for (depth, segment) in import.iter().enumerate() {
            let (file, folder) = (at.join(format!("{segment}.rs")), at.join(segment));
            if self.files.contains_key(&file) {
                return Some(file);
            }
            let facade = folder.join("mod.rs");
            if !self.files.contains_key(&facade) {
                return None;
            }
            let next = import.get(depth + 1)?;
            if let Some((child, _)) = self.handed_on(&facade).into_iter().find(|(_, names)| names.contains(next)) {
                return Some(child);
            }
            let below = folder.join(format!("{next}.rs"));
            if !self.files.contains_key(&below) && !self.files.contains_key(&folder.join(next).join("mod.rs")) {
                return Some(facade);
            }
            at = folder;
        }
        None
    }

    /// The children of a facade whose names it hands on: `pub use child::{A, B};`.
    fn handed_on(&self, facade: &Path) -> Vec<(PathBuf, BTreeSet<String>)> {
        let folder = facade.parent().unwrap();
        let uses = self.files[facade].split("use ").skip(1).filter_map(|text| text.split_once(';'));
        uses.filter_map(|(text, _)| {
            let (child, names) = text.split_once("::")?;
            let path = folder.join(format!("{child}.rs"));
            let names = names.split(|c: char| !c.is_alphanumeric() && c != '_');
            self.files.contains_key(&path).then(|| (path, names.map(str::to_owned).collect()))
        })
        .collect()
    }

    /// One circle of files that can be reached from `path`, if there is one.
    fn circle(&self, path: &Path, trail: &mut Vec<PathBuf>, done: &mut BTreeSet<PathBuf>) -> Option<Vec<PathBuf>> {
        if let Some(begin) = trail.iter().position(|earlier| earlier == path) {
            return Some(trail[begin..].to_vec());
        }
        if done.contains(path) {
            return None;
        }
        trail.push(path.to_owned());
        let found = self.of(path).iter().find_map(|next| self.circle(next, trail, done));
        trail.pop();
        done.insert(path.to_owned());
        found
    }
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix(root()).unwrap().to_owned()
}

/// Every `crate::a::b::C` of the code as `[a, b, C]`; a list in braces counts once for each of its names.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for text in code.split("crate::").skip(1) {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(text.len());
        let prefix: Vec<String> =
            text[..end].split("::").filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
        match text[end..].strip_prefix('{').and_then(|list| list.split_once('}')) {
            Some((list, _)) if text[..end].ends_with("::") => {
                for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                    let segments = name.split("::").filter(|segment| *segment != "self").map(str::to_owned);
                    all.push(prefix.iter().cloned().chain(segments).collect());
                }
            }
            _ => all.push(prefix),
        }
    }
    all
}

#[test]
fn files_of_the_operator_import_each_other_in_no_circle() {
    let imports = Imports::read();
    let mut done = BTreeSet::new();
    let circles: Vec<String> = imports
        .files
        .keys()
        .filter_map(|path| imports.circle(path, &mut Vec::new(), &mut done))
        .map(|circle| circle.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" -> "))
        .collect();
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

#[test]
fn import_through_a_facade_resolves_to_the_file_that_defines_the_name() {
    let imports = Imports::read();
    let resolve = |text: &str| imports.resolve(&text.split("::").map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(resolve("model::Reason"), Some(PathBuf::from("src/model/reason.rs")));
    assert_eq!(resolve("plan::finding::Finding"), Some(PathBuf::from("src/plan/finding.rs")));
    assert_eq!(resolve("health::Health"), Some(PathBuf::from("src/health.rs")));
}
