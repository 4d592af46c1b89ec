//! The parameters of a chat request that some upstream cannot be told, as a set that fits into a register.

use crate::chat::{ChatRequest, ResponseFormat, Tool, ToolChoice};
use crate::dialect::Dialect;

/// A set of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters(u32);

/// How each is written in an upstream's name for what it lacks; `no_` stands before it in the catalogue.
pub const NAMES: &[(&str, Parameters)] = &[
    ("temperature", Parameters::TEMPERATURE),
    ("top_p", Parameters::TOP_P),
    ("top_k", Parameters::TOP_K),
    ("stop", Parameters::STOP),
    ("n", Parameters::N),
    ("seed", Parameters::SEED),
    ("penalties", Parameters::PENALTIES),
    ("logprobs", Parameters::LOGPROBS),
    ("logit_bias", Parameters::LOGIT_BIAS),
    ("parallel_tool_calls", Parameters::PARALLEL_TOOL_CALLS),
    ("tool_choice", Parameters::TOOL_CHOICE),
    ("required_tool_choice", Parameters::REQUIRED_TOOL_CHOICE),
    ("strict_tools", Parameters::STRICT_TOOLS),
    ("json_object", Parameters::JSON_OBJECT),
    ("json_schema", Parameters::JSON_SCHEMA),
    ("reasoning_effort", Parameters::REASONING_EFFORT),
    ("user", Parameters::USER),
    ("metadata", Parameters::METADATA),
];

// === impl Parameters ===

impl Parameters {
    pub const NONE: Self = Self(0);
    pub const TEMPERATURE: Self = Self(1);
    pub const TOP_P: Self = Self(1 << 1);
    pub const TOP_K: Self = Self(1 << 2);
    pub const STOP: Self = Self(1 << 3);
    pub const N: Self = Self(1 << 4);
    pub const SEED: Self = Self(1 << 5);
    pub const PENALTIES: Self = Self(1 << 6);
    pub const LOGPROBS: Self = Self(1 << 7);
    pub const LOGIT_BIAS: Self = Self(1 << 8);
    pub const PARALLEL_TOOL_CALLS: Self = Self(1 << 9);
    /// Any choice but `auto`.
    pub const TOOL_CHOICE: Self = Self(1 << 10);
    /// The choice `required`.
    pub const REQUIRED_TOOL_CHOICE: Self = Self(1 << 11);
    pub const STRICT_TOOLS: Self = Self(1 << 12);
    pub const JSON_OBJECT: Self = Self(1 << 13);
    pub const JSON_SCHEMA: Self = Self(1 << 14);
    pub const REASONING_EFFORT: Self = Self(1 << 15);
    pub const USER: Self = Self(1 << 16);
    pub const METADATA: Self = Self(1 << 17);
    /// OpenAI's older and its newer name of the same number.
    pub const MAX_TOKENS: Self = Self(1 << 18);
    pub const MAX_COMPLETION_TOKENS: Self = Self(1 << 19);

    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub const fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub const fn both(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What a top-level member of a client's body, whichever its dialect, may say. The value decides whether it does. A name
    /// written with escapes is not recognised: the body then passes, and the upstream judges it.
    pub fn of_member(name: &[u8]) -> Self {
        match name {
            b"temperature" => Self::TEMPERATURE,
            b"top_p" => Self::TOP_P,
            b"top_k" => Self::TOP_K,
            b"stop" | b"stop_sequences" => Self::STOP,
            b"n" => Self::N,
            b"seed" => Self::SEED,
            b"presence_penalty" | b"frequency_penalty" => Self::PENALTIES,
            b"logprobs" | b"top_logprobs" => Self::LOGPROBS,
            b"logit_bias" => Self::LOGIT_BIAS,
            b"parallel_tool_calls" => Self::PARALLEL_TOOL_CALLS,
            b"tool_choice" | b"function_call" => Self::TOOL_CHOICE.with(Self::REQUIRED_TOOL_CHOICE),
            b"tools" => Self::STRICT_TOOLS,
            b"response_format" | b"text" | b"output_config" | b"output_format" => {
                Self::JSON_OBJECT.with(Self::JSON_SCHEMA)
            }
            b"reasoning_effort" | b"reasoning" | b"thinking" => Self::REASONING_EFFORT,
            b"user" => Self::USER,
            b"metadata" => Self::METADATA,
            b"max_tokens" => Self::MAX_TOKENS,
            b"max_completion_tokens" => Self::MAX_COMPLETION_TOKENS,
            // Gemini's settings have a member of their own.
            b"generationConfig" | b"generation_config" => Self(u32::MAX),
            _ => Self::NONE,
        }
    }

    /// What a request says. A value that every upstream behaves by in any case (`n: 1`, a penalty of 0) is not counted.
    pub fn of_request(request: &ChatRequest) -> Self {
        let sampling = &request.sampling;
        let differs = |number: &Option<serde_json::Number>, usual: f64| {
            number.as_ref().is_some_and(|number| number.as_f64() != Some(usual))
        };
        let functions = || {
            request.tools.iter().filter_map(|tool| match tool {
                Tool::Function(function) => Some(function),
                Tool::Opaque { .. } => None,
            })
        };
        let is_penalised = differs(&sampling.presence_penalty, 0.0) || differs(&sampling.frequency_penalty, 0.0);
        let wants_logprobs = sampling.logprobs == Some(true) || sampling.top_logprobs.is_some_and(|n| n > 0);
        let choice = request.tool_choice.as_ref();
        let has_bias = request.extra.of(Dialect::OpenAiChat).iter().any(|(name, _)| name == "logit_bias");
        [
            (differs(&sampling.temperature, 1.0), Self::TEMPERATURE),
            (differs(&sampling.top_p, 1.0), Self::TOP_P),
            (sampling.top_k.is_some(), Self::TOP_K),
            (!sampling.stop.is_empty(), Self::STOP),
            (sampling.n.is_some_and(|n| n != 1), Self::N),
            (sampling.seed.is_some(), Self::SEED),
            (is_penalised, Self::PENALTIES),
            (wants_logprobs, Self::LOGPROBS),
            (has_bias, Self::LOGIT_BIAS),
            (request.parallel_tool_calls.is_some(), Self::PARALLEL_TOOL_CALLS),
            (choice.is_some_and(|choice| *choice != ToolChoice::Auto), Self::TOOL_CHOICE),
            (choice == Some(&ToolChoice::Required), Self::REQUIRED_TOOL_CHOICE),
            (functions().any(|function| function.strict.is_some()), Self::STRICT_TOOLS),
            (matches!(request.response_format, Some(ResponseFormat::JsonObject)), Self::JSON_OBJECT),
            (matches!(request.response_format, Some(ResponseFormat::JsonSchema { .. })), Self::JSON_SCHEMA),
            (request.reasoning.is_some(), Self::REASONING_EFFORT),
            (request.user.is_some(), Self::USER),
            (request.metadata.is_some(), Self::METADATA),
        ]
        .into_iter()
        .filter(|(says, _)| *says)
        .fold(Self::NONE, |all, (_, parameter)| all.with(parameter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_has_a_bit_and_a_member_of_its_own() {
        let mut seen = Parameters::NONE;
        for (name, parameter) in NAMES {
            assert!(!parameter.is_empty() && !seen.meets(*parameter), "{name}");
            seen = seen.with(*parameter);
        }
        let members = [
            "temperature",
            "top_p",
            "top_k",
            "stop",
            "n",
            "seed",
            "presence_penalty",
            "top_logprobs",
            "logit_bias",
            "parallel_tool_calls",
            "tool_choice",
            "tools",
            "response_format",
            "reasoning_effort",
            "user",
            "metadata",
        ];
        let told = members.iter().fold(Parameters::NONE, |all, name| all.with(Parameters::of_member(name.as_bytes())));
        assert_eq!(told, seen, "a parameter that no member says never leaves the passing lane");
        assert!(Parameters::of_member(b"messages").is_empty());
    }
}
