"""An adapter by peft and a merged folder by transformers, logits against each other: argv base, adapter, merged, rows."""
import sys, json, torch
from transformers import AutoModelForCausalLM
from peft import PeftModel
base, adapter, merged = sys.argv[1:4]
rows = json.loads(sys.argv[4])
with torch.no_grad():
    b = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    before = [b(torch.tensor([r])).logits for r in rows]
    a = PeftModel.from_pretrained(b, adapter).eval()
    x = [a(torch.tensor([r])).logits for r in rows]
    m = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()
    y = [m(torch.tensor([r])).logits for r in rows]
print(json.dumps({"adapterAgainstMerged": max(float((p-q).abs().max()) for p, q in zip(x, y)), "adapterAgainstBase": max(float((p-q).abs().max()) for p, q in zip(x, before))}))
