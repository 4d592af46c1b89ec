//! Whose a token is, by what was said of it: which claim became which tenant, and under which id that stands in records and owns what it makes.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use gateway_ir::failure::{Code, Failure};
use gateway_model::kind::settings::jwt::Claims;
use serde_json::Value;

use super::Issuers;
use crate::identity::{Access, Belongs, Caller, KeyEntry, KeyTable, still};

/// Whose a token is.
#[derive(Clone, Debug)]
pub enum Whose {
    /// That of the key of this id; what it may is looked up at each request.
    Key(Arc<str>),
    /// A team's or a user's.
    Tenants(Arc<Caller>),
}

/// A token that is good.
#[derive(Clone, Debug)]
pub struct Verified {
    pub whose: Whose,
    /// Unix milliseconds; refused from then on.
    pub ends_at_ms: i64,
}

/// How a token was found to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Jwt,
    Introspection,
}

/// Longest name or pattern that a claim may hold, and how many of them.
const MAX_WORD: usize = 256;
const MAX_MODELS: usize = 100;

// === impl Source ===

impl Source {
    const ALL: [Self; 2] = [Self::Jwt, Self::Introspection];

    fn word(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Introspection => "introspection",
        }
    }
}

/// By the claims that the configuration names.
pub(super) fn whose(
    (source, name): (Source, &str),
    named: &Claims,
    claims: &Value,
    ends_at_ms: i64,
) -> Result<Whose, Box<Failure>> {
    let said = |claim: &Option<String>| -> Option<Arc<str>> {
        let text = claims[claim.as_deref()?].as_str()?;
        (!text.is_empty() && text.len() <= MAX_WORD).then(|| text.into())
    };
    if let Some(key) = said(&named.key) {
        return Ok(Whose::Key(key));
    }
    let belongs = Belongs { user: said(&named.user), team: said(&named.team) };
    if belongs == Belongs::default() {
        return Err(invalid(format!("the token of `{name}` names no key, team or user that it is used for")));
    }
    let models = match &named.models {
        None => vec!["*".to_owned()],
        Some(claim) => words(&claims[claim.as_str()]),
    };
    Ok(Whose::Tenants(caller(source, name, belongs, models, Some(ends_at_ms))))
}

/// Whether an id is that of somebody for whom another system spoke.
pub fn is_foreign(id: &str) -> bool {
    parts(id).is_some()
}

/// Somebody for whom another system spoke, for what is done behind their request: with these models, which they had then. They have to
/// be of a system that is still configured; whether their team and user are still there is looked up with them.
pub fn revived(id: &str, models: &[String], issuers: Option<&Issuers>) -> Result<Arc<Caller>, Box<Failure>> {
    let gone = || invalid("the system that spoke for whom this is done is not configured any more".to_owned());
    let (source, name, belongs) = parts(id).ok_or_else(gone)?;
    if !issuers.is_some_and(|issuers| issuers.has(source, &name)) {
        return Err(gone());
    }
    Ok(caller(source, &name, belongs, models.to_vec(), None))
}

fn caller(
    source: Source,
    name: &str,
    belongs: Belongs,
    models: Vec<String>,
    expires_at_ms: Option<i64>,
) -> Arc<Caller> {
    let id = id(source, name, &belongs);
    let entry = KeyEntry {
        id: id.as_str().into(),
        name: format!("{}:{name}", source.word()),
        models,
        access: Access { belongs, ..Access::default() },
        enabled: true,
        expires_at_ms,
        ..KeyEntry::default()
    };
    Caller::vouched(&entry)
}

/// `jwt:NAME?team=search&user=ada`: the same for each token of the same people, and for nobody else's.
fn id(source: Source, name: &str, belongs: &Belongs) -> String {
    let mut id = format!("{}:{}", source.word(), Escaped(name));
    let mut mark = '?';
    for (field, value) in [("team", &belongs.team), ("user", &belongs.user)] {
        if let Some(value) = value {
            // Writing into a text does not fail.
            let _ = write!(id, "{mark}{field}={}", Escaped(value));
            mark = '&';
        }
    }
    id
}

fn parts(id: &str) -> Option<(Source, String, Belongs)> {
    let (word, rest) = id.split_once(':')?;
    let source = Source::ALL.into_iter().find(|source| source.word() == word)?;
    let (name, fields) = rest.split_once('?')?;
    let mut belongs = Belongs::default();
    for field in fields.split('&') {
        let (field, value) = field.split_once('=')?;
        let value = Some(plain(value)?.into());
        match field {
            "team" => belongs.team = value,
            "user" => belongs.user = value,
            _ => return None,
        }
    }
    Some((source, plain(name)?, belongs))
}

/// A name in which the marks of an id are written as `%25`.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '%' | '?' | '&' | '=' => write!(f, "%{:02X}", u32::from(char))?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

fn plain(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let code = u8::from_str_radix(part.get(..2)?, 16).ok()?;
        plain.push(char::from(code));
        plain.push_str(part.get(2..)?);
    }
    Some(plain)
}

/// A list of texts, or one text with blanks between its words.
fn words(value: &Value) -> Vec<String> {
    let texts: Vec<&str> = match value {
        Value::String(text) => text.split_ascii_whitespace().collect(),
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    texts.into_iter().filter(|text| text.len() <= MAX_WORD).take(MAX_MODELS).map(str::to_owned).collect()
}

pub(super) fn invalid(message: String) -> Box<Failure> {
    Box::new(Failure::new(Code::InvalidCredential, message))
}

// === impl Verified ===

impl Verified {
    /// Who calls with it now: a key that it stands for may have been revoked since.
    pub fn caller(&self, keys: &KeyTable, now_ms: i64) -> Result<Arc<Caller>, Box<Failure>> {
        if self.ends_at_ms <= now_ms {
            return Err(invalid("this token has expired".to_owned()));
        }
        match &self.whose {
            Whose::Key(id) => still(id, keys, now_ms),
            Whose::Tenants(caller) => Ok(Arc::clone(caller)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_the_same_people_and_of_nobody_else() {
        let belongs =
            |team: Option<&str>, user: Option<&str>| Belongs { team: team.map(Into::into), user: user.map(Into::into) };
        let cases = [
            (Source::Jwt, "id", belongs(Some("search"), None), "jwt:id?team=search"),
            (Source::Jwt, "id", belongs(Some("search"), Some("ada")), "jwt:id?team=search&user=ada"),
            (Source::Introspection, "corp", belongs(None, Some("ada")), "introspection:corp?user=ada"),
            (Source::Jwt, "id", belongs(None, Some("a&team=b")), "jwt:id?user=a%26team%3Db"),
            (Source::Jwt, "a?b", belongs(Some("100%"), None), "jwt:a%3Fb?team=100%25"),
        ];
        for (source, name, belongs, expected) in cases {
            let id = id(source, name, &belongs);
            assert_eq!(id, expected);
            assert_eq!(parts(&id), Some((source, name.to_owned(), belongs)), "{id}");
        }
        for other in ["vk_01J", "", "jwt:id", "ldap:id?team=a", "jwt:id?role=a", "jwt:id?team=%zz"] {
            assert!(!is_foreign(other), "{other}");
        }
    }
}
