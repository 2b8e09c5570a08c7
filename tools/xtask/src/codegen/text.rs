//! Names and prose as Rust and Markdown want them.

/// `IN_ADDR`, `int8_256` → `InAddr`, `Int8_256`: an underscore stays only between two digits.
pub(crate) fn camel_case(name: &str) -> String {
    let mut out = String::new();
    for part in name.split('_') {
        let mut letters = part.chars();
        let first = letters.next();
        if first.is_some_and(|letter| letter.is_ascii_digit()) && out.ends_with(|letter: char| letter.is_ascii_digit())
        {
            out.push('_');
        }
        out.extend(first.map(|letter| letter.to_ascii_uppercase()));
        out.push_str(&letters.as_str().to_ascii_lowercase());
    }
    out
}

/// `ElementType` → `ELEMENT_TYPE`
pub(crate) fn upper_case(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

/// Prose as a Rust doc comment, wrapped, `marker` being `///` or `//!`. Square brackets outside code are not links.
pub(crate) fn doc_comment(marker: &str, prose: &str) -> String {
    const WIDTH: usize = 96;
    let mut out = String::new();
    let mut line = String::from(marker);
    for word in without_links(prose).split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH && line.len() > marker.len() {
            out.push_str(&line);
            out.push('\n');
            line = String::from(marker);
        }
        line.push(' ');
        if line.len() == marker.len() + 1 && matches!(word, "+" | "-") {
            // Not the beginning of a list.
            line.push('\\');
        }
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
    out
}

fn without_links(prose: &str) -> String {
    let mut in_code = false;
    let mut out = String::new();
    for letter in prose.chars() {
        in_code ^= letter == '`';
        if !in_code && matches!(letter, '[' | ']' | '*' | '<' | '>') {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

/// Prose as a cell of a Markdown table.
pub(crate) fn cell(prose: &str) -> String {
    without_links(prose).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::{camel_case, cell, doc_comment, upper_case};

    #[test]
    fn names_follow_their_language() {
        assert_eq!(camel_case("IN2_ROW"), "In2Row");
        assert_eq!(camel_case("SRC_STEP0"), "SrcStep0");
        assert_eq!(camel_case("int16_513"), "Int16_513");
        assert_eq!(upper_case("ElementType"), "ELEMENT_TYPE");
    }

    #[test]
    fn prose_keeps_its_code_and_loses_its_links() {
        assert_eq!(doc_comment("///", "order [y][x], `[c]`"), "/// order \\[y\\]\\[x\\], `[c]`\n");
        assert_eq!(cell("a | b"), "a \\| b");
    }
}
