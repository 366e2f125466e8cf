"""What the pipeline needs from the outside, as protocols.

Adapters (images, encoders, policy_files, review_queue, embedding_store, metrics) implement
these and never import each other. Each port has a real version, a fake in
``imagesieve_server.testing``, and a contract test over both.
"""

from imagesieve_server.core.ports.figures import ReviewFigures as ReviewFigures
from imagesieve_server.core.ports.groups import ReviewGroups as ReviewGroups
from imagesieve_server.core.ports.judging import EmbeddingStore as EmbeddingStore
from imagesieve_server.core.ports.judging import Encoder as Encoder
from imagesieve_server.core.ports.judging import EncoderSpec as EncoderSpec
from imagesieve_server.core.ports.judging import ImageDecoder as ImageDecoder
from imagesieve_server.core.ports.judging import Onlooker as Onlooker
from imagesieve_server.core.ports.judging import Place as Place
from imagesieve_server.core.ports.judging import PolicySource as PolicySource
from imagesieve_server.core.ports.judging import PreviewMaker as PreviewMaker
from imagesieve_server.core.ports.metrics import Metrics as Metrics
from imagesieve_server.core.ports.quality import ReviewQuality as ReviewQuality
from imagesieve_server.core.ports.reviewing import ReviewQueue as ReviewQueue
