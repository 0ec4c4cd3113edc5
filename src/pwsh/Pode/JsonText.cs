using System;
using System.Collections;
using System.Globalization;
using System.Numerics;
using System.Text.Json;

namespace SecretBridge.Pode;

/// <summary>
/// JSON as tables, lists and plain values. Strings stay strings, whatever they look like. Keys are found without case,
/// unless an object has two that differ in nothing else.
/// </summary>
public static class JsonText
{
    private static readonly JsonDocumentOptions Options = new() { MaxDepth = 100, AllowTrailingCommas = true, CommentHandling = JsonCommentHandling.Skip };

    /// <summary>A text's value; throws where it is not JSON.</summary>
    public static object? Parse(string text)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(text, Options);
            return Read(document.RootElement);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // The second: a text that holds a lone surrogate.
            throw new BadBodyException("the body is not valid JSON");
        }
    }

    private static object? Read(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.String:
                return element.GetString();
            case JsonValueKind.Object:
                return ReadObject(element);
            case JsonValueKind.Array:
                object?[] list = new object?[element.GetArrayLength()];
                int at = 0;
                foreach (JsonElement item in element.EnumerateArray())
                {
                    list[at++] = Read(item);
                }
                return list;
            case JsonValueKind.Number:
                if (element.TryGetInt64(out long number))
                {
                    return number;
                }
                string raw = element.GetRawText();
                return raw.IndexOfAny(['.', 'e', 'E']) < 0 ? BigInteger.Parse(raw, CultureInfo.InvariantCulture) : element.GetDouble();
            case JsonValueKind.True:
                return true;
            case JsonValueKind.False:
                return false;
            default:
                return null;
        }
    }

    // The table is copied once at most, however many of its keys are alike.
    private static Hashtable ReadObject(JsonElement element)
    {
        Hashtable table = Values.NewTable();
        bool exact = false;
        foreach (JsonProperty member in element.EnumerateObject())
        {
            if (!exact && table.ContainsKey(member.Name))
            {
                table = new Hashtable(table, StringComparer.Ordinal);
                exact = true;
            }
            table[member.Name] = Read(member.Value);
        }
        return table;
    }
}
