"""The only place that builds the object graph: settings in, a server that can start out."""

from imagesieve_server.assembly.grpc_port import server_options as server_options
from imagesieve_server.assembly.judging import limits_of as limits_of
from imagesieve_server.assembly.judging import serving_options as serving_options
from imagesieve_server.assembly.running import Running as Running
from imagesieve_server.assembly.running import running as running
from imagesieve_server.assembly.shared_encoder import BehindEncoder as BehindEncoder
from imagesieve_server.assembly.shared_encoder import EncoderServing as EncoderServing
from imagesieve_server.assembly.shared_encoder import encoder_process as encoder_process
