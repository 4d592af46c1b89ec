//! Which members of a document are hidden: by name wherever they are, or by place.

/// As a rule names them.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// In lower case.
    names: Box<[Box<str>]>,
    paths: Box<[Path]>,
}

/// From the root; `None` is any member.
type Path = Box<[Option<Box<str>>]>;

/// Where in a document one is: what holds it, from the root.
#[derive(Debug)]
pub(super) enum Level {
    /// With the member that one is in, or `None` before its name.
    Object(Option<String>),
    /// With the number of the element.
    Array(usize),
}

// === impl Places ===

impl Places {
    pub(super) fn compile(written: &[String]) -> Self {
        let (paths, names): (Vec<_>, Vec<_>) = written.iter().partition(|place| place.starts_with('/'));
        let path = |text: &str| -> Path {
            let segments = text.split('/').skip(1);
            segments.map(|name| (name != "*").then(|| name.replace("~1", "/").replace("~0", "~").into())).collect()
        };
        Self {
            names: names.iter().map(|name| name.to_lowercase().into()).collect(),
            paths: paths.iter().map(|text| path(text)).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.paths.is_empty()
    }

    pub(super) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// Whether the value that comes next is hidden.
    pub(super) fn hide(&self, levels: &[Level]) -> bool {
        if self.is_empty() {
            return false;
        }
        if let Some(Level::Object(Some(name))) = levels.last()
            && self.names.iter().any(|hidden| **hidden == *name.to_lowercase())
        {
            return true;
        }
        self.paths.iter().any(|path| {
            path.len() == levels.len()
                && path.iter().zip(levels).all(|(wanted, level)| wanted.as_deref().is_none_or(|name| level.is(name)))
        })
    }
}

// === impl Level ===

impl Level {
    fn is(&self, name: &str) -> bool {
        match self {
            Self::Object(member) => member.as_deref() == Some(name),
            Self::Array(number) => name.parse() == Ok(*number),
        }
    }
}
