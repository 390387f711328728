//! The fenced blocks of a Markdown page, for the suites that run its commands.

pub struct Fence {
    pub language: String,
    /// Without the indentation of the fence, each line with its end.
    pub text: String,
}

pub fn fences(page: &str) -> Vec<Fence> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let block = lines.by_ref().take_while(|line| line.trim() != "```");
        let text = block.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect();
        found.push(Fence { language: language.trim().to_owned(), text });
    }
    found
}

/// The kubectl commands of a shell block; one may go over several lines.
pub fn kubectl_commands(block: &str) -> Vec<String> {
    let text = format!("\n{block}");
    text.split("\nkubectl ").skip(1).map(|command| format!("kubectl {}", command.trim_end())).collect()
}
