// Load a SavedModel with TensorFlow's C++ LoadSavedModel, the function that TF Serving calls, and
// run its signatures.
//
//   run_signatures FOLDER INPUTS OUTPUTS
//
// INPUTS and OUTPUTS are TFRecord files of NamedTensorProto, named "signature/tensor".

#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/lib/io/record_reader.h"
#include "tensorflow/core/lib/io/record_writer.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/protobuf/named_tensor.pb.h"
#include "tensorflow/core/public/session_options.h"

namespace tf = tensorflow;

namespace {

void Check(const absl::Status& status) {
  if (!status.ok()) {
    std::cerr << status << std::endl;
    std::exit(1);
  }
}

std::map<std::string, std::map<std::string, tf::Tensor>> Read(const std::string& path) {
  std::unique_ptr<tf::RandomAccessFile> file;
  Check(tf::Env::Default()->NewRandomAccessFile(path, &file));
  tf::io::RecordReader reader(file.get());
  std::map<std::string, std::map<std::string, tf::Tensor>> found;
  uint64_t offset = 0;
  tf::tstring record;
  while (reader.ReadRecord(&offset, &record).ok()) {
    tf::NamedTensorProto proto;
    proto.ParseFromString(std::string(record));
    const std::string name = proto.name();
    const auto slash = name.find('/');
    tf::Tensor tensor;
    if (!tensor.FromProto(proto.tensor())) Check(absl::InvalidArgumentError(name));
    found[name.substr(0, slash)][name.substr(slash + 1)] = tensor;
  }
  return found;
}

}  // namespace

int main(int, char** arguments) {
  tf::SavedModelBundle bundle;
  Check(tf::LoadSavedModel(tf::SessionOptions(), tf::RunOptions(), arguments[1],
                           {"serve"}, &bundle));
  std::unique_ptr<tf::WritableFile> file;
  Check(tf::Env::Default()->NewWritableFile(arguments[3], &file));
  tf::io::RecordWriter writer(file.get());
  for (const auto& [signature, inputs] : Read(arguments[2])) {
    const auto& definition = bundle.GetSignatures().at(signature);
    std::vector<std::pair<std::string, tf::Tensor>> feed;
    for (const auto& [name, tensor] : inputs) {
      feed.emplace_back(definition.inputs().at(name).name(), tensor);
    }
    std::vector<std::string> names, tensors;
    for (const auto& [name, info] : definition.outputs()) {
      names.push_back(signature + "/" + name);
      tensors.push_back(info.name());
    }
    std::vector<tf::Tensor> outputs;
    Check(bundle.GetSession()->Run(feed, tensors, {}, &outputs));
    for (size_t i = 0; i < names.size(); ++i) {
      tf::NamedTensorProto proto;
      proto.set_name(names[i]);
      outputs[i].AsProtoTensorContent(proto.mutable_tensor());
      Check(writer.WriteRecord(proto.SerializeAsString()));
    }
  }
  Check(writer.Close());
  Check(file->Close());
  return 0;
}
