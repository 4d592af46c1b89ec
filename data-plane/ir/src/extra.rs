//! Fields a decoder did not know, kept with the dialect they came from and given back when the same dialect encodes.

use serde_json::value::RawValue;

use crate::dialect::Dialect;

/// Unknown fields of one object, in order, byte for byte.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    fields: Option<Box<Fields>>,
}

#[derive(Clone, Debug)]
struct Fields {
    dialect: Dialect,
    entries: Vec<(String, Box<RawValue>)>,
}

// === impl Extra ===

impl Extra {
    pub fn new(dialect: Dialect, entries: Vec<(String, Box<RawValue>)>) -> Self {
        if entries.is_empty() {
            return Self::default();
        }
        Self { fields: Some(Box::new(Fields { dialect, entries })) }
    }

    /// The fields, if they came from `dialect`; a foreign dialect sees none.
    pub fn of(&self, dialect: Dialect) -> &[(String, Box<RawValue>)] {
        match &self.fields {
            Some(fields) if fields.dialect == dialect => &fields.entries,
            _ => &[],
        }
    }

    /// Names that `dialect` cannot carry because they came from another one; they are reported as dropped.
    pub fn lost_in(&self, dialect: Dialect) -> impl Iterator<Item = &str> {
        let fields = self.fields.as_deref().filter(|fields| fields.dialect != dialect);
        fields.into_iter().flat_map(|fields| fields.entries.iter().map(|(name, _)| name.as_str()))
    }

    /// Forgets the fields of this name.
    pub fn remove(&mut self, name: &str) {
        if let Some(fields) = &mut self.fields {
            fields.entries.retain(|(known, _)| known != name);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_none()
    }
}
