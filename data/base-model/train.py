#!/usr/bin/env python3
"""Train a small general-English base language model from plain text, on a CPU, and save it for `transformers`.

    python train.py OUT --books DIR --prose DIR [--minutes 90] [--hidden 256 --layers 6 --heads 4 --vocab 8192]

Text: public-domain books (one Markdown file each) and freely licensed modern prose, mixed by bytes. No instruction
data, no dialogue tuning and no preference data: this is a base model. One book in fifty is held out for validation.
"""

import argparse
import json
import math
import random
import re
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

EOS = "<|endoftext|>"


def books(folder: Path) -> list[str]:
    texts = []
    for path in sorted(folder.rglob("*.md")):
        text = path.read_text(encoding="utf-8", errors="ignore")
        text = text.split("-------", 1)[-1]
        text = re.sub(r"^#+\s*", "", text, flags=re.M)
        text = re.sub(r"\n{3,}", "\n\n", text).strip()
        if len(text) > 2000:
            texts.append(text)
    return texts


def prose(folder: Path) -> list[str]:
    texts = []
    for name in ("inaugural", "state_union", "movie_reviews", "masc_tagged"):
        for path in sorted((folder / name).rglob("*")):
            if not path.is_file() or path.name in ("README", "CONTENTS", "cats.txt", "categories.txt"):
                continue
            text = path.read_text(encoding="utf-8", errors="ignore")
            if name == "masc_tagged":
                text = re.sub(r"_(?:[A-Z$]{1,5}|[.,:()'`#-]{1,3}|--)(?=\s)", "", text)
            text = re.sub(r"[ \t]+", " ", text)
            text = re.sub(r" ([.,;:?!'])", r"\1", text)
            text = re.sub(r"\n{3,}", "\n\n", text).strip()
            if len(text) > 200:
                texts.append(text)
    return texts


def pieces(text: str, size: int = 20_000) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def train_tokenizer(texts, vocab: int) -> PreTrainedTokenizerFast:
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab,
            special_tokens=[EOS],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    bos = processors.TemplateProcessing(
        single=f"{EOS} $A", pair=f"{EOS} $A $B", special_tokens=[(EOS, tok.token_to_id(EOS))]
    )
    tok.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), bos])
    return PreTrainedTokenizerFast(
        tokenizer_object=tok, bos_token=EOS, eos_token=EOS, pad_token=EOS, model_max_length=1024
    )


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", type=Path)
    ap.add_argument("--books", type=Path, required=True)
    ap.add_argument("--prose", type=Path, required=True)
    ap.add_argument("--minutes", type=float, default=90)
    ap.add_argument("--hidden", type=int, default=256)
    ap.add_argument("--layers", type=int, default=6)
    ap.add_argument("--heads", type=int, default=4)
    ap.add_argument("--intermediate", type=int, default=704)
    ap.add_argument("--vocab", type=int, default=8192)
    ap.add_argument("--context", type=int, default=512)
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--compile", action="store_true")
    args = ap.parse_args()
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)

    tokens_file = args.out / "tokens.npz"
    if tokens_file.exists():
        data = np.load(tokens_file)
        train, valid, valid_bytes = data["train"], data["valid"], int(data["valid_bytes"])
        tokenizer = PreTrainedTokenizerFast.from_pretrained(args.out)
    else:
        all_books, all_prose = books(args.books), prose(args.prose)
        random.Random(0).shuffle(all_books)
        random.Random(1).shuffle(all_prose)
        held = all_books[: len(all_books) // 50] + all_prose[: len(all_prose) // 50]
        kept_books, kept_prose = all_books[len(all_books) // 50 :], all_prose[len(all_prose) // 50 :]
        sample = [p for t in kept_books for p in random.Random(len(t)).sample(pieces(t), min(3, len(pieces(t))))]
        sample += kept_prose * 2
        tokenizer = train_tokenizer(sample, args.vocab)
        tokenizer.save_pretrained(args.out)
        eos = tokenizer.eos_token_id

        def encode(texts):
            ids = []
            for batch in range(0, len(texts), 64):
                for enc in tokenizer.backend_tokenizer.encode_batch(
                    texts[batch : batch + 64], add_special_tokens=False
                ):
                    ids.append(np.array([eos] + enc.ids, dtype=np.uint16))
            return ids

        budget = 150_000_000  # bytes of book text: as much as the time allows, in pieces from every book
        parts = [p for t in kept_books for p in pieces(t)]
        random.Random(2).shuffle(parts)
        taken, total = [], 0
        for part in parts:
            if total > budget:
                break
            taken.append(part)
            total += len(part)
        docs = encode(taken) + encode([p for t in kept_prose * 2 for p in pieces(t)])
        random.Random(3).shuffle(docs)
        train = np.concatenate(docs)
        held_text = [
            p for t in held for p in random.Random(len(t)).sample(pieces(t, 4000), min(4, len(pieces(t, 4000))))
        ]
        valid = np.concatenate(encode(held_text))
        valid_bytes = sum(len(t.encode()) for t in held_text)
        np.savez(tokens_file, train=train, valid=valid, valid_bytes=valid_bytes)
    print(f"train {len(train):,} tokens, valid {len(valid):,} tokens / {valid_bytes:,} bytes", flush=True)

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.hidden,
        intermediate_size=args.intermediate,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        num_key_value_heads=args.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
        attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config).to(args.device)
    n = sum(p.numel() for p in model.parameters())
    print(f"{n:,} parameters", flush=True)
    decay = [p for p in model.parameters() if p.dim() >= 2]
    other = [p for p in model.parameters() if p.dim() < 2]
    opt = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": other, "weight_decay": 0.0}],
        lr=args.lr,
        betas=(0.9, 0.95),
        fused=True,
    )
    forward = torch.compile(model) if args.compile else model
    rng = np.random.default_rng(args.seed)
    span = args.context + 1

    def batch():
        starts = rng.integers(0, len(train) - span, args.batch)
        ids = torch.from_numpy(np.stack([train[s : s + span] for s in starts]).astype(np.int64)).to(args.device)
        return ids

    def loss_of(ids):
        with torch.autocast(args.device, dtype=torch.bfloat16):
            logits = forward(input_ids=ids[:, :-1], use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.float().view(-1, logits.size(-1)), ids[:, 1:].reshape(-1))

    @torch.no_grad()
    def validate():
        model.eval()
        total, count = 0.0, 0
        for start in range(0, min(len(valid), 200_000) - span, span * 16):
            rows = [valid[s : s + span] for s in range(start, min(start + span * 16, len(valid) - span), span)]
            ids = torch.from_numpy(np.stack(rows).astype(np.int64)).to(args.device)
            total += loss_of(ids).item() * ids[:, 1:].numel()
            count += ids[:, 1:].numel()
        model.train()
        nats = total / count
        return nats, nats / math.log(2) * len(valid) / valid_bytes

    began, step, log = time.time(), 0, []
    seconds = args.minutes * 60
    model.train()
    running = None
    if args.minutes == 0:
        return
    while (elapsed := time.time() - began) < seconds:
        part = elapsed / seconds
        warm = min(1.0, (step + 1) / 200)
        rate = args.lr * warm * (1.0 if part < 0.7 else max(0.02, (1 - part) / 0.3))
        for group in opt.param_groups:
            group["lr"] = rate
        loss = loss_of(batch())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        step += 1
        if step % 250 == 0:
            speed = step * args.batch * args.context / (time.time() - began)
            line = f"step {step} {elapsed:.0f}s loss {running:.3f} lr {rate:.2e} {speed:,.0f} tok/s"
            if step % 2000 == 0:
                nats, bpb = validate()
                line += f" | valid {nats:.3f} nats/token {bpb:.3f} bits/byte"
            print(line, flush=True)
    nats, bpb = validate()
    print(
        f"final valid {nats:.4f} nats/token, {bpb:.4f} bits/byte; {step} steps, {step * args.batch * args.context:,} tokens",
        flush=True,
    )
    model.to(torch.bfloat16).save_pretrained(args.out)
    (args.out / "training.json").write_text(
        json.dumps(
            {
                "parameters": n,
                "steps": step,
                "tokens": step * args.batch * args.context,
                "valid_nats_per_token": nats,
                "valid_bits_per_byte": bpb,
                **{k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
