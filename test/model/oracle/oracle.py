"""Logits by transformers: of every model folder below argv[1] for the rows in argv[2], and of the GGUF file argv[3]."""
import json, os, sys
import torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXTS = [
    "The capital of France is Paris, and the capital of Italy is Rome.",
    "A funny, moving film with a great cast.\nIt was great",
    "def add(a, b):\n    return a + b\n",
    "  Größe: 12,5 €  –  naïve café … 東京\t(2026)\n\n\n",
]
CHAT = [{"role": "user", "content": "Hello, who are you?"}, {"role": "assistant", "content": "I am a small model."}]


def rounded(values):
    return [float(f"{v:.8g}") for v in values]


def tiny(path, rows):
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    return [rounded(model(torch.tensor([ids])).logits[0].flatten().tolist()) for ids in rows]


def smollm2(path):
    """The weights of the file widened by the gguf package, and put into transformers' own Llama."""
    import numpy as np
    from gguf import GGUFReader
    from gguf.quants import dequantize
    from transformers import LlamaConfig, LlamaForCausalLM

    names = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    }

    def halves(w, heads):
        rows, width = w.shape
        return w.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)

    state = {}
    for t in GGUFReader(path).tensors:
        w = dequantize(t.data, t.tensor_type).astype(np.float32)
        w = w.reshape(tuple(int(n) for n in reversed(t.shape)))
        part = t.name.split(".")
        if part[0] == "token_embd":
            name = "model.embed_tokens.weight"
        elif part[0] == "output_norm":
            name = "model.norm.weight"
        else:
            name = f"model.layers.{part[1]}.{names[part[2]]}.weight"
            if part[2] == "attn_q":
                w = halves(w, 9)
            if part[2] == "attn_k":
                w = halves(w, 3)
        state[name] = torch.from_numpy(np.ascontiguousarray(w))
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model = LlamaForCausalLM(LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_attention_heads=9, num_key_value_heads=3, num_hidden_layers=30,
        rms_norm_eps=1e-5, rope_theta=100000.0, tie_word_embeddings=True, vocab_size=49152,
        max_position_embeddings=8192, attn_implementation="eager")).float().eval()
    model.load_state_dict(state)
    folder, file = os.path.split(os.path.realpath(path))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    rows = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        logits = model(torch.tensor([ids])).logits[0]
        losses = -torch.log_softmax(logits.double(), -1)[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        last = logits[-1]
        rows.append({"text": text, "ids": ids, "losses": rounded(losses.tolist()),
                     "logits": rounded(logits[:, ::512].flatten().tolist()), "every": 512,
                     "last": rounded(last[::16].tolist()), "best": int(last.argmax())})
    chat = tokenizer.apply_chat_template(CHAT, tokenize=False)
    return {"rows": rows, "chat": {"messages": CHAT, "text": chat, "ids": tokenizer(chat)["input_ids"]}}


with torch.no_grad():
    root, rows = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps({
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "tiny": {name: tiny(os.path.join(root, name), rows) for name in sorted(os.listdir(root))},
        "smollm2": smollm2(sys.argv[3]),
    }))
