"""Episodes: from labelled sets to batches of N-way K-shot tasks."""

from fewshot.core.lazy import face

__getattr__, __dir__ = face(
    __name__,
    {
        "Episode": "fewshot.episodes.episode",
        "EpisodeSampler": "fewshot.episodes.sampler",
        "Fingerprint": "fewshot.episodes.fingerprint",
    },
)
