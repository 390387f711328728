//! The text format 0.0.4 of Prometheus, made from OpenMetrics text.

use std::fmt::Write;

/// Counters and infos have their suffix in the name of the family, and there is neither a unit nor an end.
pub(super) fn classic(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            let help = help.split_once(' ').map_or("", |(_, help)| help);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_the_names_of_their_samples() {
        let openmetrics = "# HELP a Events.\n# TYPE a counter\na_total{x=\"#\"} 1\n\
            # HELP b Build.\n# TYPE b info\nb_info{version=\"1\"} 1\n\
            # HELP c_seconds Time.\n# TYPE c_seconds histogram\n# UNIT c_seconds seconds\nc_seconds_count 1\n# EOF\n";
        let classic = classic(openmetrics);
        assert_eq!(
            classic,
            "# HELP a_total Events.\n# TYPE a_total counter\na_total{x=\"#\"} 1\n\
            # HELP b_info Build.\n# TYPE b_info gauge\nb_info{version=\"1\"} 1\n\
            # HELP c_seconds Time.\n# TYPE c_seconds histogram\nc_seconds_count 1\n"
        );
    }
}
