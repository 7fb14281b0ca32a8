//! Numbers and tables as a page has them.

use serde_json::Value;

/// A whole number, in groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A measured number with three digits that mean something, or all of them before the point.
pub(super) fn rounded(number: f64) -> String {
    if number >= 100.0 {
        return grouped(number.round() as u64);
    }
    if number == 0.0 {
        return "0".to_owned();
    }
    let before = number.abs().log10().floor() as i32;
    let digits = usize::try_from((2 - before).max(0)).expect("it is not negative");
    format!("{number:.digits$}")
}

/// A text that stays in its cell.
pub(super) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// A table. The columns in which each cell is a number stand to the right.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let is_number = |text: &String| {
        text.chars().any(|c| c.is_ascii_digit()) && text.chars().all(|c| "0123456789,.".contains(c))
    };
    let side = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column)).filter(|c| *c != "–");
        if cells.clone().next().is_some() && cells.all(is_number) { "---:" } else { "---" }
    };
    let sides: Vec<&str> = (0..head.len()).map(side).collect();
    let mut lines = vec![head.join(" | "), sides.join(" | ")];
    lines
        .extend(rows.iter().map(|row| row.iter().map(|c| cell(c)).collect::<Vec<_>>().join(" | ")));
    lines.iter().map(|line| format!("| {line} |")).collect::<Vec<_>>().join("\n")
}

/// All that a report counts, by the path of its name; lists by their length and what is in them.
pub(super) fn flattened(report: &Value, aside: &[&str]) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    walk(report, "", aside, &mut rows);
    rows
}

fn walk(value: &Value, path: &str, aside: &[&str], rows: &mut Vec<(String, String)>) {
    let name = || path.replace('_', " ");
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter().filter(|(name, _)| !aside.contains(&name.as_str())) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}: {name}") };
                walk(value, &path, aside, rows);
            }
        }
        Value::Array(list) => match list.len() {
            0 => rows.push((name(), "none".to_owned())),
            n => {
                let said = list.iter().map(told).collect::<Vec<_>>().join("; ");
                rows.push((name(), format!("{}: {said}", grouped(n as u64))));
            }
        },
        other => rows.push((name(), told(other))),
    }
}

/// A value in a line.
pub(super) fn told(value: &Value) -> String {
    match (value, value.as_u64(), value.as_f64()) {
        (_, Some(number), _) => grouped(number),
        (_, None, Some(number)) => rounded(number),
        (Value::String(text), ..) => text.clone(),
        (Value::Object(map), ..) => {
            let pairs = map.iter().map(|(name, value)| format!("{name} {}", told(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
        (other, ..) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_readable() {
        let numbers = [0, 7, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
        let numbers = [0.0, 0.000_524_6, 1.234_5, 56.78, 564.4, 12_345.6].map(rounded);
        assert_eq!(numbers, ["0", "0.000525", "1.23", "56.8", "564", "12,346"]);
    }

    #[test]
    fn a_table_has_numbers_to_the_right() {
        let rows =
            [vec!["a|b".to_owned(), "1,000".to_owned()], vec!["c".to_owned(), "–".to_owned()]];
        let expected = "| what | count |\n| --- | ---: |\n| a\\|b | 1,000 |\n| c | – |";
        assert_eq!(table(&["what", "count"], &rows), expected);
    }

    #[test]
    fn a_report_is_told_whole_whatever_it_counts() {
        let report =
            json!({"events": 1_000, "faults": {"a_crash": 2, "none": []}, "x": [{"s": 1}]});
        let rows = flattened(&report, &["events"]);
        let expected = [("faults: a crash", "2"), ("faults: none", "none"), ("x", "1: s 1")];
        assert_eq!(rows, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
