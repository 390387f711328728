//! Hexadecimal text of bytes.

/// Two upper-case digits for each byte, with `separator` between the bytes.
pub fn upper(bytes: &[u8], separator: &str) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_pads_each_byte_and_separates_only_between_bytes() {
        assert_eq!(upper(&[], ":"), "");
        assert_eq!(upper(&[0x07], ":"), "07");
        assert_eq!(upper(&[0x07, 0xab], ":"), "07:AB");
        assert_eq!(upper(&[0x07, 0xab], ""), "07AB");
    }
}
