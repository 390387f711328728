//! Splits T-SQL text into tokens.

use super::collation::Collation;

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A bare word: keyword or name.
    Word(String),
    /// A name in brackets or double quotes.
    Name(String),
    Text(String),
    Int(i64),
    /// A literal such as 0x01.
    Bytes(Vec<u8>),
    Var(String),
    Symbol(&'static str),
    End,
}

impl Token {
    /// The text of the token in an error message.
    pub fn source_text(&self) -> String {
        match self {
            Token::Word(text) | Token::Name(text) | Token::Text(text) => text.clone(),
            Token::Var(name) => format!("@{name}"),
            Token::Int(number) => number.to_string(),
            Token::Bytes(_) => "0x".to_owned(),
            Token::Symbol(symbol) => (*symbol).to_owned(),
            Token::End => "end of batch".to_owned(),
        }
    }
}

/// Two-character symbols first.
const SYMBOLS: [&str; 18] =
    ["<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", ",", ".", ";", "+", "-", "*", "/", "%", ":"];

/// The tokens of a text, ending with `End`, and the line of each token.
///
/// # Errors
/// The character or literal that is not T-SQL.
pub fn tokens(text: &str, collation: Collation) -> Result<(Vec<Token>, Vec<u32>), String> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut lines = Vec::new();
    let (mut at, mut line, mut counted) = (0, 1, 0);
    while let Some(&c) = chars.get(at) {
        line += newlines(&chars[counted..at]);
        counted = at;
        lines.resize(found.len(), line);
        let next = chars.get(at + 1).copied();
        if c.is_whitespace() {
            at += 1;
        } else if c == '-' && next == Some('-') {
            while chars.get(at).is_some_and(|c| *c != '\n') {
                at += 1;
            }
        } else if c == '/' && next == Some('*') {
            let end = (at + 2..chars.len()).find(|end| chars[*end] == '*' && chars.get(end + 1) == Some(&'/'));
            at = end.ok_or("/*")? + 2;
        } else if c == '\'' || ((c == 'N' || c == 'n') && next == Some('\'')) {
            let (text, end) = quoted(&chars, at + usize::from(c != '\'') + 1, '\'')?;
            found.push(Token::Text(text));
            at = end;
        } else if c == '[' || c == '"' {
            let (name, end) = quoted(&chars, at + 1, if c == '[' { ']' } else { '"' })?;
            found.push(Token::Name(name));
            at = end;
        } else if c == '0' && matches!(next, Some('x' | 'X')) {
            let end = (at + 2..chars.len()).find(|end| !chars[*end].is_ascii_hexdigit()).unwrap_or(chars.len());
            found.push(Token::Bytes(bytes(&chars[at + 2..end])));
            at = end;
        } else if c.is_ascii_digit() {
            let end = (at..chars.len()).find(|end| !chars[*end].is_ascii_digit()).unwrap_or(chars.len());
            let digits: String = chars[at..end].iter().collect();
            found.push(Token::Int(digits.parse().map_err(|_| digits)?));
            at = end;
        } else if c == '@' || c == '_' || c == '#' || c.is_alphabetic() {
            let inside = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '@' | '#' | '$');
            let end = (at..chars.len()).find(|end| !inside(&chars[*end])).unwrap_or(chars.len());
            let word: String = chars[at..end].iter().collect();
            found.push(match word.strip_prefix('@') {
                // `@@SERVERNAME` is a function, and names of functions have no case in any collation.
                Some(name) if name.starts_with('@') => Token::Var(name.to_lowercase()),
                Some(name) => Token::Var(collation.name(name)),
                None => Token::Word(word),
            });
            at = end;
        } else {
            let rest: String = chars[at..].iter().take(2).collect();
            let symbol = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)).ok_or(c.to_string())?;
            found.push(Token::Symbol(symbol));
            at += symbol.len();
        }
    }
    found.push(Token::End);
    lines.resize(found.len(), line);
    Ok((found, lines))
}

fn newlines(chars: &[char]) -> u32 {
    chars.iter().map(|c| u32::from(*c == '\n')).sum()
}

/// The bytes of hexadecimal digits. An odd number of digits starts with half a byte.
fn bytes(digits: &[char]) -> Vec<u8> {
    let digits: Vec<u8> = digits.iter().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    let odd = digits.len() % 2;
    let head = digits[..odd].iter().copied();
    head.chain(digits[odd..].chunks(2).map(|pair| pair[0] << 4 | pair[1])).collect()
}

/// The quoted text, in which a doubled closing mark is one mark, and the position after the closing mark.
fn quoted(chars: &[char], from: usize, close: char) -> Result<(String, usize), String> {
    let mut text = String::new();
    let mut at = from;
    loop {
        match (chars.get(at), chars.get(at + 1)) {
            (None, _) => return Err(format!("an unclosed quotation mark {close}")),
            (Some(c), Some(d)) if *c == close && *d == close => at += 1,
            (Some(c), _) if *c == close => return Ok((text, at + 1)),
            (Some(_), _) => {}
        }
        text.push(chars[at]);
        at += 1;
    }
}
