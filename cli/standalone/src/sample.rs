//! Which model a first request could name, so that a pasted curl line answers.

use gateway_model::catalog;
use gateway_model::set::Set;

/// The first model that people named themselves, else a direct address at the first provider of which one is known.
/// `probed` are models that local servers said they have, by provider name. `None`: nothing is known to work.
pub(crate) fn model(set: &Set, probed: &[(String, String)]) -> Option<String> {
    if let Some(model) = set.models.first() {
        return Some(model.name.clone());
    }
    set.providers.iter().find_map(|provider| {
        let probed = probed.iter().find(|(name, _)| *name == provider.name).map(|(_, model)| model.as_str());
        let known = catalog::row(&provider.kind).and_then(|row| row.model.as_deref());
        probed.or(known).map(|model| format!("{}/{model}", provider.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::provider;

    #[test]
    fn a_name_of_ones_own_comes_first_then_what_a_server_said_then_what_is_known() {
        let set = Set { providers: vec![provider("azure"), provider("ollama"), provider("openai")], ..Set::default() };
        let probed = [("ollama".to_owned(), "llama3.2:1b".to_owned())];
        assert_eq!(model(&set, &probed).as_deref(), Some("ollama/llama3.2:1b"));
        let set = Set { providers: vec![provider("azure"), provider("openai")], ..Set::default() };
        assert_eq!(model(&set, &[]).as_deref(), Some("openai/gpt-4o-mini"));
        assert_eq!(model(&Set::default(), &[]), None);
    }
}
