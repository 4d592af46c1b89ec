//! Ids of what a vendor keeps for a tenant, such as files: handed out with a keyed tag of tenant and provider, so that no node has
//! to remember whose they are, and an id that another tenant has seen or guessed opens nothing.

use std::fmt::Write as _;

use crate::identity::Peppers;

/// Stands in no id of a vendor's, in no provider's name, and needs no escape in a path.
const MARK: char = '~';

/// An id that was handed out to the tenant that presents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle<'a> {
    /// The vendor's own.
    pub id: &'a str,
    /// The name of the provider that has it.
    pub provider: &'a str,
}

/// What a tenant is given for a vendor's id: `file-abc~openai~` and 32 hexadecimal digits. `None` without any pepper.
pub fn seal(peppers: &Peppers, tenant: &str, handle: Handle<'_>) -> Option<String> {
    let tags = peppers.digests(&sealed(tenant, handle)).next()?;
    Some(format!("{}{MARK}{}{MARK}{}", handle.id, handle.provider, shown(&tags)))
}

/// The way back; `None` if this was not given to this tenant. Tags made under an earlier pepper hold until that is gone.
pub fn open<'a>(peppers: &Peppers, tenant: &str, text: &'a str) -> Option<Handle<'a>> {
    let (rest, tag) = text.rsplit_once(MARK)?;
    let (id, provider) = rest.rsplit_once(MARK)?;
    let handle = Handle { id, provider };
    let is_it = |known: [u8; 32]| {
        aws_lc_rs::constant_time::verify_slices_are_equal(shown(&known).as_bytes(), tag.as_bytes()).is_ok()
    };
    peppers.digests(&sealed(tenant, handle)).any(is_it).then_some(handle)
}

/// No credential holds a zero byte, so that no tag is a digest of one.
fn sealed(tenant: &str, Handle { id, provider }: Handle<'_>) -> String {
    format!("handle\0{tenant}\0{provider}\0{id}")
}

/// 128 bits of the digest.
fn shown(digest: &[u8; 32]) -> String {
    digest[..16].iter().fold(String::with_capacity(32), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_tenant_was_given_opens_nothing_for_another() {
        let old = Peppers::new([(1, b"old")]).expect("a pepper");
        let both = Peppers::new([(1, b"old"), (2, b"new")]).expect("two peppers");
        let handle = Handle { id: "file-abc", provider: "open.ai_1" };
        let given = seal(&old, "vk_1", handle).expect("a tag");
        assert!(given.starts_with("file-abc~open.ai_1~") && given.len() == 19 + 32, "{given}");
        assert_eq!(open(&old, "vk_1", &given), Some(handle));
        assert_eq!(open(&both, "vk_1", &given), Some(handle), "the pepper was changed since");
        let newer = seal(&both, "vk_1", handle).expect("a tag");
        assert_eq!((open(&old, "vk_1", &newer), open(&both, "vk_1", &newer)), (None, Some(handle)));
        let moved = given.replacen("open.ai_1", "other", 1);
        let other = given.replacen("file-abc", "file-abd", 1);
        for forged in [moved.as_str(), other.as_str(), "file-abc", "file-abc~open.ai_1~", "~~", ""] {
            assert_eq!(open(&both, "vk_1", forged), None, "{forged}");
        }
        assert_eq!(open(&both, "vk_2", &given), None);
        assert_eq!(seal(&Peppers::default(), "vk_1", handle), None);
    }
}
