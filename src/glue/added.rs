//! Tokens besides the vocabulary's: those that a folder's files add, and the marks by their names.
//!
//! transformers reads `added_tokens_decoder` of `tokenizer_config.json`; where it is missing,
//! `special_tokens_map.json`, `added_tokens.json` and the `added_tokens` of `tokenizer.json`. The
//! ids that these files tell give the order only.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::error::Result;
use crate::glue::class::Class;
use crate::glue::components::Vocabulary;
use crate::glue::object::Object;

/// More tokens than any model has besides its vocabulary.
pub(super) const MOST_ADDED: usize = 10_000;

/// The names of marks in transformers, in the order in which it adds what a vocabulary lacks.
const NAMES: [&str; 7] = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"];
/// Tokens without a name, as older versions call them and as newer ones do.
const UNNAMED: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];

/// A token that is cut out of a text before anything else is done with it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Added {
    pub content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    /// Where no file says so, all but special tokens are.
    normalized: Option<bool>,
    special: bool,
    /// Named by its text alone.
    bare: bool,
}

impl Added {
    fn special(content: &str) -> Self {
        Self {
            content: content.to_owned(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: None,
            special: true,
            bare: true,
        }
    }

    /// A token as `origin` describes it: with its text alone, or as an object.
    fn parse(value: &Value, origin: &Object, special: Option<bool>) -> Result<Self> {
        let object = match value {
            Value::String(content) => return Ok(Self::special(content)),
            Value::Object(object) => object,
            other => return Err(origin.wrong("a token's text or object", other)),
        };
        let Some(content) = object.get("content").and_then(Value::as_str) else {
            return Err(origin.wrong("a token with its content", value));
        };
        let flag = |name: &str| match object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(origin.wrong(format!("true or false for {name} of a token"), value)),
        };
        let is = |name: &str| Ok(flag(name)?.unwrap_or(false));
        Ok(Self {
            content: content.to_owned(),
            single_word: is("single_word")?,
            lstrip: is("lstrip")?,
            rstrip: is("rstrip")?,
            normalized: flag("normalized")?,
            special: special.map_or_else(|| is("special"), Ok)?,
            bare: false,
        })
    }

    /// In the form of `tokenizer.json`.
    pub fn json(&self, id: usize) -> Value {
        json!({"id": id, "content": self.content, "single_word": self.single_word,
            "lstrip": self.lstrip, "rstrip": self.rstrip, "normalized": self.normalized.unwrap_or(!self.special),
            "special": self.special})
    }
}

/// What a folder's files say of tokens besides the vocabulary's.
pub(super) struct Tokens {
    /// Those that are listed, in the order of their ids.
    pub listed: Vec<Added>,
    /// The marks by their names; `None` where there is to be no such mark.
    pub names: Names,
    /// Others with names.
    named: Vec<Added>,
    /// Those without a name.
    unnamed: Vec<Added>,
}

/// Marks by their names in transformers: `cls` for the `cls_token`.
pub(super) type Names = BTreeMap<&'static str, Option<Added>>;

impl Tokens {
    /// Reads the files in `dir` beside a vocabulary. `config` is its `tokenizer_config.json`, and
    /// `whole` its `tokenizer.json`, if there is one.
    ///
    /// # Errors
    /// A file is malformed, has too many tokens, or calls the marks of `class` by other names.
    pub fn read(
        dir: &Path,
        config: &Object,
        whole: Option<&Object>,
        class: Option<&Class>,
    ) -> Result<Self> {
        let map = Object::read(&dir.join("special_tokens_map.json"))?;
        let decoder = config.entries.get("added_tokens_decoder");
        let map = (decoder.is_none() && !map.entries.is_empty()).then_some(&map);
        let names = names(config, map, class)?;
        let named = own_names(config, map)?;
        let (listed_special, mut unnamed) = unnamed(config, map)?;
        let lists = |file: &Object| UNNAMED.iter().any(|name| file.get(name).is_some());
        if !lists(config) && !map.is_some_and(lists) {
            let own = class.map_or(&[][..], |class| class.unnamed);
            unnamed.extend(own.iter().map(|content| Added::special(content)));
        }
        let mut listed = BTreeMap::new();
        if let Some(decoder) = decoder {
            let Some(tokens) = decoder.as_object() else {
                return Err(config.wrong("an object for added_tokens_decoder", decoder));
            };
            for (id, token) in tokens {
                let Ok(id) = id.parse::<u64>() else {
                    let expected = "numbers as the names in added_tokens_decoder";
                    return Err(config.wrong(expected, format!("{id:?}")));
                };
                listed.insert(id, Added::parse(token, config, None)?);
            }
        } else {
            let file = Object::read(&dir.join("added_tokens.json"))?;
            // Neither marks that no file names are known to be special yet, nor those that the
            // configuration describes as objects.
            let written = |name: &str, token: &Added| {
                let entry = format!("{name}_token");
                map.is_some_and(|map| map.get(&entry).is_some())
                    || (token.bare && config.get(&entry).is_some())
            };
            let is_special = |content: &str| {
                let marks = names.iter().filter_map(|(name, token)| Some((name, token.as_ref()?)));
                let marks = marks.filter(|(name, token)| written(name, token));
                let marks = marks.map(|(_, token)| token);
                marks.chain(&listed_special).any(|token| token.content == content)
            };
            for (content, id) in &file.entries {
                let Some(id) = id.as_u64() else {
                    return Err(file.wrong(format!("a number as the id of {content:?}"), id));
                };
                let special = is_special(content);
                let token = json!({"content": content, "special": special, "normalized": !special});
                listed.insert(id, Added::parse(&token, &file, None)?);
            }
            if let Some(whole) = whole {
                listed.extend(in_whole(whole)?);
            }
        }
        let count = listed.len() + named.len() + unnamed.len();
        if count > MOST_ADDED {
            return Err(
                config.wrong(format!("at most {MOST_ADDED} tokens beside this file"), count)
            );
        }
        let is_named = |content: &str| {
            names.values().flatten().chain(&named).any(|token| token.content == content)
        };
        let listed = listed.into_values().map(|token| {
            let special = token.special || is_named(&token.content);
            Added { special, ..token }
        });
        let listed = listed.collect();
        Ok(Self { listed, names, named, unnamed })
    }

    /// All tokens to add, in order; `there` are those that the tokenizer has already.
    pub fn into_added(self, there: &[Added]) -> Vec<Added> {
        let known: HashSet<String> =
            there.iter().chain(&self.listed).map(|token| token.content.clone()).collect();
        let mut all = self.listed;
        let mut names = self.names;
        let marks: Vec<Added> =
            NAMES.iter().filter_map(|name| names.remove(name).flatten()).collect();
        let named: HashSet<String> =
            marks.iter().chain(&self.named).map(|token| token.content.clone()).collect();
        for token in marks.into_iter().chain(self.named).chain(self.unnamed) {
            let special = token.special || named.contains(&token.content);
            let token = Added { special, ..token };
            // Of two descriptions of one token the library takes the later.
            if !known.contains(&token.content) && !all.contains(&token) {
                all.push(token);
            }
        }
        all.retain(|token| !token.content.is_empty());
        all
    }
}

/// The tokens that `tokenizer.json` adds, by their ids.
pub(super) fn in_whole(whole: &Object) -> Result<Vec<(u64, Added)>> {
    let tokens = whole.get("added_tokens").and_then(Value::as_array);
    tokens
        .into_iter()
        .flatten()
        .map(|token| match token.get("id").and_then(Value::as_u64) {
            Some(id) => Ok((id, Added::parse(token, whole, None)?)),
            None => Err(whole.wrong("added_tokens with their ids", token)),
        })
        .collect()
}

/// The ids that the library gives to tokens that are added to `vocabulary` in this order.
pub(super) fn with_ids<'a>(
    tokens: &'a [Added],
    vocabulary: &Vocabulary,
) -> Vec<(usize, &'a Added)> {
    let mut next = vocabulary.size;
    let mut given = BTreeMap::new();
    let mut id_of = |content: &'a str| {
        if let Some(id) = vocabulary.id(content) {
            return id;
        }
        *given.entry(content).or_insert_with(|| {
            next += 1;
            next - 1
        })
    };
    tokens.iter().map(|token| (id_of(&token.content), token)).collect()
}

/// The marks, from `tokenizer_config.json` and, over it, from `special_tokens_map.json`.
fn names(config: &Object, map: Option<&Object>, class: Option<&Class>) -> Result<Names> {
    let mut names = Names::new();
    let own = class.map_or(&[][..], |class| class.marks.by_name);
    names.extend(own.iter().map(|(name, mark)| (*name, Some(Added::special(mark)))));
    for (file, special) in [(Some(config), None), (map, Some(true))] {
        let Some(file) = file else { continue };
        for name in NAMES {
            match file.entries.get(&format!("{name}_token")) {
                None => continue,
                Some(Value::Null) => names.insert(name, None),
                Some(token) => names.insert(name, Some(Added::parse(token, file, special)?)),
            };
            if let Some(class) = class {
                check_mark(name, names.get(name).and_then(Option::as_ref), file, class)?;
            }
        }
    }
    if let Some(Some(mask)) = names.get_mut("mask")
        && mask.bare
        && class.is_some_and(|class| class.mask_takes_spaces)
    {
        mask.lstrip = true;
    }
    Ok(names)
}

/// The classes here know their marks by one spelling only.
fn check_mark(name: &str, token: Option<&Added>, file: &Object, class: &Class) -> Result<()> {
    let mark = class.marks.by_name.iter().find(|(mark, _)| *mark == name);
    let Some((_, mark)) = mark.filter(|(_, mark)| class.marks.required().contains(mark)) else {
        return Ok(());
    };
    if token.is_some_and(|token| token.content == *mark) {
        return Ok(());
    }
    let found = token.map_or("null".to_owned(), |token| format!("{:?}", token.content));
    Err(file.wrong(format!("{name}_token {mark:?}"), found).hint("other marks are not supported"))
}

/// Tokens with names that are no mark's: `entity_token` and the like.
fn own_names(config: &Object, map: Option<&Object>) -> Result<Vec<Added>> {
    let mut named: Vec<(String, Added)> = Vec::new();
    let mut add = |name: &str, token: Added| match named.iter_mut().find(|(other, _)| other == name)
    {
        Some((_, other)) => *other = token,
        None => named.push((name.to_owned(), token)),
    };
    let is_own =
        |name: &str| name.strip_suffix("_token").is_some_and(|name| !NAMES.contains(&name));
    let is_token = |value: &Value| value.is_string() || value.get("content").is_some();
    for (file, special) in [(map, Some(true)), (Some(config), None)] {
        let Some(file) = file else { continue };
        for (name, value) in
            file.entries.iter().filter(|(name, value)| is_own(name) && is_token(value))
        {
            add(name, Added::parse(value, file, special)?);
        }
        for (name, value) in
            file.get("extra_special_tokens").and_then(Value::as_object).into_iter().flatten()
        {
            add(name, Added::parse(value, file, special)?);
        }
    }
    Ok(named.into_iter().map(|(_, token)| token).collect())
}

/// Special tokens in lists, without and with those that a map names the older way: by these, no
/// token of `added_tokens.json` is known to be special. Of a file's two lists the newer one counts; a
/// map adds to it.
fn unnamed(config: &Object, map: Option<&Object>) -> Result<(Vec<Added>, Vec<Added>)> {
    let [older, newer] = UNNAMED;
    let list = |file: &Object, name: &str, special| -> Result<Vec<Added>> {
        match file.get(name) {
            Some(Value::Array(tokens)) => {
                tokens.iter().map(|token| Added::parse(token, file, special)).collect()
            }
            Some(Value::Object(_)) if name == newer => Ok(Vec::new()),
            Some(other) => Err(file.wrong(format!("a list for {name}"), other)),
            None => Ok(Vec::new()),
        }
    };
    let mut tokens = list(config, newer, None)?;
    if tokens.is_empty() {
        tokens = list(config, older, None)?;
    }
    let Some(map) = map else { return Ok((tokens.clone(), tokens)) };
    tokens.extend(list(map, newer, Some(true))?);
    let is_list =
        |file: &Object, name| file.entries.get(name).is_some_and(|list| !list.is_object());
    let all = match is_list(map, newer) || UNNAMED.iter().any(|name| is_list(config, name)) {
        true => tokens.clone(),
        false => list(map, older, Some(true))?,
    };
    Ok((tokens, all))
}
