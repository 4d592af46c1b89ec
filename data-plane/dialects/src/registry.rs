//! The list of dialects.

use gateway_ir::dialect::Dialect as Id;

use crate::anthropic_messages::AnthropicMessages;
use crate::dialect::Dialect;
use crate::openai_chat::OpenAiChat;

/// The dialect of an id. Exhaustive: a new id does not build without its module.
pub fn dialect(id: Id) -> &'static dyn Dialect {
    match id {
        Id::OpenAiChat => &OpenAiChat,
        Id::AnthropicMessages => &AnthropicMessages,
    }
}
