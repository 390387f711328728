//! The man pages of the command line, one for each verb, from the arguments themselves.

use std::path::Path;

use anyhow::Context;

/// # Errors
/// The folder cannot be written.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot write the man pages to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(cannot)?;
    clap_mangen::generate_to(lync_mirror::cli::command(), folder).with_context(cannot)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests {
    use super::*;

    #[test]
    fn each_verb_has_a_man_page_with_its_options() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("man1")).unwrap();
        let page = |name: &str| std::fs::read_to_string(folder.path().join("man1").join(name));
        assert!(page("lync-mirror.1").unwrap().contains("lync\\-mirror\\-failover(1)"));
        let command = lync_mirror::cli::command();
        for verb in command.get_subcommands() {
            let (name, page) = (verb.get_name(), page(&format!("lync-mirror-{}.1", verb.get_name())));
            if verb.is_hide_set() {
                assert!(page.is_err(), "{name} is internal");
                continue;
            }
            let page = page.unwrap();
            assert!(page.contains(".SH NAME\n") && page.contains(".SH SYNOPSIS\n"), "{name}: {page}");
            let options = verb.get_arguments().filter(|argument| !argument.is_hide_set());
            for long in options.filter_map(|argument| argument.get_long()) {
                assert!(page.contains(&format!("\\-\\-{}", long.replace('-', "\\-"))), "{name} --{long}: {page}");
            }
        }
    }
}
