//! From a line to a directive and its arguments.

use std::collections::VecDeque;

use super::diagnostic::{Diagnostic, Span};

/// Something, or what is wrong with it.
pub(super) type Parsed<T> = Result<T, Diagnostic>;

/// The arguments of a directive that have not been asked for yet.
#[derive(Debug)]
pub(super) struct Arguments {
    /// The directive itself.
    pub(super) span: Span,
    values: VecDeque<Argument>,
    keyed: Vec<(String, Argument)>,
}

/// One argument, without its key.
#[derive(Debug)]
pub(super) struct Argument {
    pub(super) span: Span,
    value: Value,
}

#[derive(Debug)]
enum Value {
    /// A bare word: a name, a number, a keyword.
    Word(String),
    /// Quoted text: never a number, keyword or arrow.
    Text(String),
    /// Values between brackets.
    List(Vec<Argument>),
}

/// The directive and the arguments of a line; `None` for a line without either.
pub(super) fn scan(number: usize, line: &str) -> Parsed<Option<(String, Arguments)>> {
    let tokens = tokens(number, line)?;
    let mut tokens = Tokens { span: Span { line: number, column: 1, length: 0 }, rest: tokens.into() };
    let Some((span, first)) = tokens.next() else { return Ok(None) };
    let directive = match first {
        Token::Word(word) if word.starts_with('.') => word,
        _ => return Err(span.error("a line begins with a directive").hint("directives begin with a dot: `.tensor`")),
    };
    let mut arguments = Arguments { span, values: VecDeque::new(), keyed: Vec::new() };
    while !tokens.rest.is_empty() {
        match tokens.argument()? {
            (None, value) => arguments.values.push_back(value),
            (Some(key), value) => arguments.keyed.push((key, value)),
        }
        tokens.skip(',');
    }
    Ok(Some((directive, arguments)))
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

/// Characters that are tokens of their own.
const MARKS: &str = "[],=";

/// Whether a word may hold this character.
fn in_word(letter: char) -> bool {
    letter.is_ascii_graphic() && !MARKS.contains(letter) && letter != '"' && letter != ';'
}

/// Whether a name reads as itself without quotes.
pub(super) fn is_bare(name: &str) -> bool {
    !name.is_empty() && name != "->" && name.chars().all(in_word)
}

fn tokens(number: usize, line: &str) -> Parsed<Vec<(Span, Token)>> {
    let mut letters = (1..).zip(line.chars()).peekable();
    let mut tokens = Vec::new();
    while let Some((column, letter)) = letters.next() {
        let span = Span { line: number, column, length: 1 };
        match letter {
            ';' => break,
            '"' => tokens.push(text(span, &mut letters)?),
            letter if MARKS.contains(letter) => tokens.push((span, Token::Mark(letter))),
            letter if in_word(letter) => {
                let mut word = String::from(letter);
                while let Some((_, letter)) = letters.next_if(|&(_, letter)| in_word(letter)) {
                    word.push(letter);
                }
                tokens.push((Span { length: word.len(), ..span }, Token::Word(word)));
            }
            letter if letter.is_whitespace() => {}
            letter => {
                let message = format!("character {letter:?} needs quotes");
                return Err(span.error(message).hint("write names with other than plain characters as \"name\""));
            }
        }
    }
    Ok(tokens)
}

/// The rest of a quoted text, behind its first quote.
fn text(start: Span, letters: &mut impl Iterator<Item = (usize, char)>) -> Parsed<(Span, Token)> {
    let mut text = String::new();
    let unclosed = || start.error("the quotes are not closed");
    loop {
        let (column, letter) = letters.next().ok_or_else(unclosed)?;
        match letter {
            '"' => return Ok((start.to(Span { column, length: 1, ..start }), Token::Text(text))),
            '\\' => text.push(escape(Span { column, ..start }, letters)?),
            letter => text.push(letter),
        }
    }
}

/// The character that an escape stands for, behind its backslash: itself, or `u{hex}`.
fn escape(start: Span, letters: &mut impl Iterator<Item = (usize, char)>) -> Parsed<char> {
    let wrong = || start.error("unknown escape").hint("there are \\\\, \\\" and \\u{hex}");
    match letters.next() {
        Some((_, letter @ ('\\' | '"'))) => Ok(letter),
        Some((_, 'u')) => {
            let code: String = letters.map(|(_, letter)| letter).take_while(|&letter| letter != '}').collect();
            let digits = code.strip_prefix('{').ok_or_else(wrong)?;
            u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

struct Tokens {
    /// The last token taken.
    span: Span,
    rest: VecDeque<(Span, Token)>,
}

impl Tokens {
    fn next(&mut self) -> Option<(Span, Token)> {
        let (span, token) = self.rest.pop_front()?;
        self.span = span;
        Some((span, token))
    }

    /// Takes a mark if it is next.
    fn skip(&mut self, mark: char) -> bool {
        let is_next = self.rest.front().is_some_and(|(_, token)| *token == Token::Mark(mark));
        if is_next {
            self.next();
        }
        is_next
    }

    /// A value, and the key if there is one; the span of a keyed value is that of both.
    fn argument(&mut self) -> Parsed<(Option<String>, Argument)> {
        let first = self.value()?;
        let is_key = matches!(first.value, Value::Word(_)) && self.skip('=');
        match first.value {
            Value::Word(key) if is_key => {
                let Argument { span, value } = self.value()?;
                Ok((Some(key), Argument { span: first.span.to(span), value }))
            }
            value => Ok((None, Argument { value, ..first })),
        }
    }

    fn value(&mut self) -> Parsed<Argument> {
        let after = Span { column: self.span.column + self.span.length, length: 0, ..self.span };
        match self.next() {
            Some((span, Token::Word(word))) => Ok(Argument { span, value: Value::Word(word) }),
            Some((span, Token::Text(text))) => Ok(Argument { span, value: Value::Text(text) }),
            Some((span, Token::Mark('['))) => self.list(span),
            Some((span, Token::Mark(mark))) => Err(span.error(format!("`{mark}` where a value should be"))),
            None => Err(after.error("a value is missing")),
        }
    }

    /// The rest of a list, behind its bracket. Lists hold no lists.
    fn list(&mut self, start: Span) -> Parsed<Argument> {
        let mut items = Vec::new();
        while !self.skip(']') {
            match self.rest.front() {
                None => return Err(start.error("the bracket is not closed")),
                Some((span, Token::Mark('['))) => return Err(span.error("a list within a list")),
                Some(_) => {}
            }
            items.push(self.value()?);
            self.skip(',');
        }
        Ok(Argument { span: start.to(self.span), value: Value::List(items) })
    }
}

impl Arguments {
    /// The next argument without a key.
    pub(super) fn next(&mut self, what: &str) -> Parsed<Argument> {
        self.values.pop_front().ok_or_else(|| self.span.error(format!("{what} is missing")))
    }

    /// All remaining arguments without a key.
    pub(super) fn rest(&mut self) -> impl Iterator<Item = Argument> {
        self.values.drain(..)
    }

    /// The argument with this key, if it is there.
    pub(super) fn key(&mut self, key: &str) -> Option<Argument> {
        let index = self.keyed.iter().position(|(found, _)| found == key)?;
        Some(self.keyed.swap_remove(index).1)
    }

    /// The argument with this key.
    pub(super) fn required(&mut self, key: &str) -> Parsed<Argument> {
        self.key(key).ok_or_else(|| self.span.error(format!("`{key}=` is missing")))
    }

    /// Takes a keyword if it is there.
    pub(super) fn flag(&mut self, word: &str) -> bool {
        let index = self.values.iter().position(|value| value.is_word(word));
        index.and_then(|index| self.values.remove(index)).is_some()
    }

    /// Refuses arguments that nobody asked for.
    pub(super) fn finish(&self) -> Parsed<()> {
        let left = self.values.iter().chain(self.keyed.iter().map(|(_, argument)| argument));
        match left.min_by_key(|argument| argument.span.column) {
            None => Ok(()),
            Some(argument) => Err(argument.span.error("this argument means nothing here")),
        }
    }
}

/// A whole number in decimal, or in hex behind `0x`, perhaps signed; `_` may separate digits.
fn whole(word: &str) -> Option<i128> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (radix, digits) = digits.strip_prefix("0x").map_or((10, digits), |digits| (16, digits));
    let is_number = digits.starts_with(|digit: char| digit.is_digit(radix));
    let number = i128::from_str_radix(&digits.replace('_', ""), radix);
    number.ok().filter(|_| is_number).map(|number| if negative { -number } else { number })
}

impl Argument {
    /// Whether it is this keyword.
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(&self.value, Value::Word(found) if found == word)
    }

    /// A name or a text.
    pub(super) fn text(self) -> Parsed<String> {
        match self.value {
            Value::Word(text) | Value::Text(text) => Ok(text),
            Value::List(_) => Err(self.span.error("a list where a name should be")),
        }
    }

    /// A bare word.
    pub(super) fn word(&self) -> Parsed<&str> {
        match &self.value {
            Value::Word(word) => Ok(word),
            Value::Text(_) | Value::List(_) => Err(self.span.error("a plain word should be here")),
        }
    }

    /// A whole number of a type.
    pub(super) fn number<T: TryFrom<i128>>(&self) -> Parsed<T> {
        let word = self.word()?;
        let number = whole(word).ok_or_else(|| self.span.error(format!("`{word}` is not a whole number")))?;
        T::try_from(number).map_err(|_| {
            let message = format!("{word} is out of range");
            self.span.error(message).hint(format!("the type here is {}", std::any::type_name::<T>()))
        })
    }

    /// A real number of a type, read to the nearest.
    pub(super) fn real<T: std::str::FromStr>(&self) -> Parsed<T> {
        let word = self.word()?;
        word.parse().map_err(|_| self.span.error(format!("`{word}` is not a number")))
    }

    /// The values of a list.
    pub(super) fn list(self) -> Parsed<Vec<Argument>> {
        match self.value {
            Value::List(items) => Ok(items),
            Value::Word(_) | Value::Text(_) => Err(self.span.error("a list in brackets should be here")),
        }
    }

    /// A list of whole numbers.
    pub(super) fn numbers<T: TryFrom<i128>>(self) -> Parsed<Vec<T>> {
        self.list()?.iter().map(Argument::number).collect()
    }

    /// One of these words, and what it stands for.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Parsed<T> {
        let word = self.word()?;
        let found = choices.iter().find(|(name, _)| *name == word).map(|&(_, value)| value);
        found.ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|&(name, _)| name).collect();
            self.span.error(format!("`{word}` is unknown here")).hint(format!("one of {}", names.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str) -> (usize, usize, String) {
        let error = scan(1, line).expect_err("should be refused");
        (error.column, error.length, error.message)
    }

    #[test]
    fn arguments_are_words_texts_lists_and_keys() {
        let (directive, mut arguments) =
            scan(1, r#".x a, "b \"\u{41}" [1, -0x1_0] key=[] -> ; rest"#).unwrap().unwrap();
        assert_eq!(directive, ".x");
        assert_eq!(arguments.key("key").unwrap().numbers::<u8>().unwrap(), []);
        assert_eq!(arguments.next("a").unwrap().text().unwrap(), "a");
        assert_eq!(arguments.next("b").unwrap().text().unwrap(), "b \"A");
        assert_eq!(arguments.next("c").unwrap().numbers::<i8>().unwrap(), [1, -16]);
        assert!(arguments.flag("->"));
        arguments.finish().unwrap();
    }

    #[test]
    fn a_wrong_line_says_where() {
        assert_eq!(message("tensor"), (1, 6, "a line begins with a directive".into()));
        assert_eq!(message("  .x \"abc"), (6, 1, "the quotes are not closed".into()));
        assert_eq!(message(".x [1, 2"), (4, 1, "the bracket is not closed".into()));
        assert_eq!(message(".x [[1]]"), (5, 1, "a list within a list".into()));
        assert_eq!(message(".x a="), (6, 0, "a value is missing".into()));
        assert_eq!(message(".x é"), (4, 1, "character 'é' needs quotes".into()));
        assert_eq!(message(".x \"\\q\""), (5, 1, "unknown escape".into()));
    }

    #[test]
    fn whole_numbers() {
        assert_eq!(whole("1_000"), Some(1000));
        assert_eq!(whole("-0xff"), Some(-255));
        for wrong in ["", "-", "--1", "0x", "0x-1", "0x+1", "_1", "1.0", "x"] {
            assert_eq!(whole(wrong), None, "{wrong}");
        }
    }
}
