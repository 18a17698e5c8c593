"""The server that serve_load.py compares `platon serve` with: FastAPI over transformers, as small as it goes.

    uvicorn --app-dir benches serve_fastapi:app        with the model's folder in MODEL
"""
import os

import fastapi
import pydantic
import torch
import transformers

tokenizer = transformers.AutoTokenizer.from_pretrained(os.environ["MODEL"])
model = transformers.AutoModelForSequenceClassification.from_pretrained(os.environ["MODEL"]).eval()
names = [model.config.id2label[n] for n in range(model.config.num_labels)]
app = fastapi.FastAPI()


class Pair(pydantic.BaseModel):
    text: str
    text_pair: str | None = None


class Ask(pydantic.BaseModel):
    inputs: Pair


# On the loop itself: texts one after the other, each on all cores. In threads of their own they
# are slower, for the cores are then shared by all that wait.
@app.post("/predict")
async def predict(ask: Ask):
    with torch.inference_mode():
        encoded = tokenizer(ask.inputs.text, ask.inputs.text_pair, truncation=True, return_tensors="pt")
        logits = model(**encoded).logits[0]
        scores = logits if len(names) == 1 else logits.softmax(0)
    scored = [{"label": name, "score": score} for name, score in zip(names, scores.tolist())]
    return [sorted(scored, key=lambda one: -one["score"])]


@app.get("/health")
def health():
    return {}
