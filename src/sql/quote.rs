//! Quotes names and literals for T-SQL. Every value in a statement passes through this module.

/// The defect of a text that cannot be a name in SQL Server. Such a text is never sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unquotable {
    #[error("the name is empty")]
    Empty,
    #[error("the name contains a NUL character")]
    Nul,
    #[error("the name is longer than 128 UTF-16 units, the limit of SQL Server")]
    TooLong,
}

/// The length of `sysname` in UTF-16 units ("Database Identifiers").
const SYSNAME: usize = 128;

/// Returns `[name]` with each `]` doubled ("QUOTENAME").
pub fn identifier(name: &str) -> Result<String, Unquotable> {
    check(name)?;
    Ok(format!("[{}]", name.replace(']', "]]")))
}

/// Returns `N'text'` with each `'` doubled. For names only: the limit of `sysname` applies.
pub fn literal(name: &str) -> Result<String, Unquotable> {
    check(name)?;
    Ok(format!("N'{}'", name.replace('\'', "''")))
}

fn check(name: &str) -> Result<(), Unquotable> {
    if name.is_empty() {
        return Err(Unquotable::Empty);
    }
    if name.contains('\0') {
        return Err(Unquotable::Nul);
    }
    if name.encode_utf16().count() > SYSNAME {
        return Err(Unquotable::TooLong);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quoting_doubles_the_delimiters() {
        assert_eq!(identifier("rtcxds").unwrap(), "[rtcxds]");
        assert_eq!(identifier("a]; DROP DATABASE [b").unwrap(), "[a]]; DROP DATABASE [b]");
        assert_eq!(identifier("it's").unwrap(), "[it's]");
        assert_eq!(literal("it's").unwrap(), "N'it''s'");
        assert_eq!(literal("x]").unwrap(), "N'x]'");
    }

    #[test]
    fn quoting_an_invalid_name_fails() {
        assert_eq!(identifier(""), Err(Unquotable::Empty));
        assert_eq!(literal("a\0b"), Err(Unquotable::Nul));
        assert!(identifier(&"x".repeat(128)).is_ok());
        assert_eq!(identifier(&"x".repeat(129)), Err(Unquotable::TooLong));
        assert!(literal(&"𝕏".repeat(64)).is_ok(), "64 surrogate pairs are 128 units");
        assert_eq!(literal(&"𝕏".repeat(65)), Err(Unquotable::TooLong));
    }

    proptest! {
        /// Between the delimiters, each delimiter is doubled, so the text cannot end early.
        #[test]
        fn quoted_text_never_ends_early(name in "[\\]'\\[a-z; \u{e9}]{1,60}") {
            let quoted = identifier(&name).unwrap();
            let inside = &quoted[1..quoted.len() - 1];
            prop_assert_eq!(inside.replace("]]", "").contains(']'), false);
            prop_assert_eq!(inside.replace("]]", "]"), name.clone());
            let quoted = literal(&name).unwrap();
            let inside = &quoted[2..quoted.len() - 1];
            prop_assert_eq!(inside.replace("''", "").contains('\''), false);
            prop_assert_eq!(inside.replace("''", "'"), name);
        }
    }
}
