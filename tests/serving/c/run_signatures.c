// Load a SavedModel with TF_LoadSessionFromSavedModel, which calls the C++ function that TF Serving
// loads a model with, and run its signatures.
//
//   run_signatures FOLDER < requests > answers
//
// A request is "INPUTS OUTPUTS\n", then of each input "OPERATION INDEX\n" and a tensor, then of each
// output "OPERATION INDEX\n"; its answer are the output's tensors. A tensor is
// "TYPE RANK DIMENSIONS...\n", TYPE a number of DataType, and its bytes; of strings, each a length as
// int64 and the bytes.

#include <stdio.h>
#include <stdlib.h>

#include "tensorflow/c/c_api.h"

enum { MOST = 32, LONGEST = 500 };

static TF_Status* status;

static void Check(int is_good, const char* what) {
  if (is_good) return;
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static void CheckStatus(void) { Check(TF_GetCode(status) == TF_OK, TF_Message(status)); }

static void Read(void* to, size_t size) { Check(fread(to, 1, size, stdin) == size, "cut short"); }

static TF_Output ReadOutput(TF_Graph* graph) {
  char name[LONGEST + 1];
  TF_Output found;
  Check(scanf("%500s %d", name, &found.index) == 2 && getchar() == '\n', "no tensor's name");
  found.oper = TF_GraphOperationByName(graph, name);
  Check(found.oper != NULL, name);
  return found;
}

static TF_Tensor* ReadTensor(void) {
  int type, rank;
  int64_t dimensions[MOST], count = 1;
  Check(scanf("%d %d", &type, &rank) == 2 && rank <= MOST, "no tensor");
  for (int i = 0; i < rank; ++i) {
    long long dimension;
    Check(scanf("%lld", &dimension) == 1, "no shape");
    count *= dimensions[i] = dimension;
  }
  Check(getchar() == '\n', "no end of a line");
  const size_t size = type == TF_STRING ? sizeof(TF_TString) : TF_DataTypeSize(type);
  TF_Tensor* tensor = TF_AllocateTensor(type, dimensions, rank, count * size);
  if (type != TF_STRING) {
    Read(TF_TensorData(tensor), count * size);
    return tensor;
  }
  TF_TString* strings = TF_TensorData(tensor);
  for (int64_t i = 0; i < count; ++i) {
    int64_t length;
    Read(&length, sizeof(length));
    char* bytes = malloc(length);
    Read(bytes, length);
    TF_StringInit(&strings[i]);
    TF_StringCopy(&strings[i], bytes, length);
    free(bytes);
  }
  return tensor;
}

static void WriteTensor(const TF_Tensor* tensor) {
  printf("%d %d", TF_TensorType(tensor), TF_NumDims(tensor));
  for (int i = 0; i < TF_NumDims(tensor); ++i) printf(" %lld", (long long)TF_Dim(tensor, i));
  putchar('\n');
  fwrite(TF_TensorData(tensor), 1, TF_TensorByteSize(tensor), stdout);
}

int main(int count, char** arguments) {
  Check(count == 2, "run_signatures FOLDER");
  status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(
      TF_NewSessionOptions(), NULL, arguments[1], tags, 1, graph, NULL, status);
  CheckStatus();
  int num_inputs, num_outputs;
  while (scanf("%d %d", &num_inputs, &num_outputs) == 2) {
    Check(num_inputs <= MOST && num_outputs <= MOST && getchar() == '\n', "no request");
    TF_Output inputs[MOST], outputs[MOST];
    TF_Tensor *given[MOST], *found[MOST];
    for (int i = 0; i < num_inputs; ++i) {
      inputs[i] = ReadOutput(graph);
      given[i] = ReadTensor();
    }
    for (int i = 0; i < num_outputs; ++i) outputs[i] = ReadOutput(graph);
    TF_SessionRun(session, NULL, inputs, given, num_inputs, outputs, found, num_outputs, NULL, 0,
                  NULL, status);
    CheckStatus();
    for (int i = 0; i < num_outputs; ++i) WriteTensor(found[i]);
  }
  return 0;
}
