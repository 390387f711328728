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

/// Whether a shell waits for another line after this text: an open quote, or a backslash at the end.
fn is_open(text: &str) -> bool {
    let (mut quote, mut escaped, mut previous) = (None, false, ' ');
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, '#') if previous.is_whitespace() => {
                // A comment ends with its line.
                characters.by_ref().find(|character| *character == '\n');
            }
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
        previous = character;
    }
    quote.is_some() || escaped
}

/// The commands of a shell block, each with its continuation lines.
pub fn commands(block: &str) -> Vec<String> {
    let (mut found, mut command) = (Vec::new(), String::new());
    for line in block.lines() {
        command.push_str(line);
        if is_open(&command) {
            command.push('\n');
        } else {
            found.push(std::mem::take(&mut command).trim().to_owned());
        }
    }
    assert!(command.is_empty(), "a command does not end in its block: {command}");
    found.retain(|command| !command.is_empty() && !command.starts_with('#'));
    found
}

#[test]
fn commands_of_a_block_with_continuations_and_quotes_are_separated() {
    let block =
        "one \\\n  two\n\n# a comment, with an apostrophe: don't\nthree 'a\nb'\nfour  # don't\nfive \"x \\\" y\nz\"\n";
    assert_eq!(commands(block), ["one \\\n  two", "three 'a\nb'", "four  # don't", "five \"x \\\" y\nz\""]);
}
