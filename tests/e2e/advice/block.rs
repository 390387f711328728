//! The fenced blocks of the pages.

use std::path::Path;

use crate::markdown::{Fence, fences};
use crate::support::root;

/// The languages whose blocks are commands.
const COMMANDS: [&str; 3] = ["sh", "sql", "powershell"];
/// The languages whose blocks are no commands.
const TEXTS: [&str; 2] = ["yaml", "text"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The path below docs, without `.md`: `reasons/Conflict`.
    pub page: String,
    pub language: String,
    pub text: String,
}

impl Block {
    pub fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// The blocks with commands: of all reason pages, and those with T-SQL of the how-to pages. The suite `docs_commands` runs
/// the shell commands of the how-to pages.
pub fn blocks() -> Vec<Block> {
    let mut all = Vec::new();
    for folder in ["reasons", "how-to"] {
        let mut pages: Vec<_> = std::fs::read_dir(root().join("docs").join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
            .collect();
        pages.sort();
        for path in pages {
            let of_page = commands(folder, &path);
            all.extend(of_page.into_iter().filter(|block| folder == "reasons" || block.language == "sql"));
        }
    }
    all
}

/// The blocks of a page with commands.
fn commands(folder: &str, path: &Path) -> Vec<Block> {
    let page = format!("{folder}/{}", path.file_stem().unwrap().to_string_lossy());
    let fences = fences(&std::fs::read_to_string(path).unwrap());
    for Fence { language, .. } in &fences {
        assert!(
            COMMANDS.contains(&language.as_str()) || TEXTS.contains(&language.as_str()),
            "{page}: a block needs one of the languages {COMMANDS:?} or {TEXTS:?}: {language:?}"
        );
    }
    let commands = fences.into_iter().filter(|fence| COMMANDS.contains(&fence.language.as_str()));
    commands.map(|Fence { language, text }| Block { page: page.clone(), language, text }).collect()
}
